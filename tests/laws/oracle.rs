//! What is learned, a second time: the mirror after a look at everything, said for each name by
//! itself and from the beginning each time. Slow, and made of other parts than the charm.

use std::collections::{BTreeMap, BTreeSet};

use microcluster_token_distributor::core::evidence::{Relation, World};
use microcluster_token_distributor::core::fingerprint::fingerprint;
use microcluster_token_distributor::core::names::UnitName;
use microcluster_token_distributor::core::wire::{Databag, printable};

/// The mirror after a look at everything, once used tokens are cleared, and `seen` without the names
/// for which the order in which two units are read decides. `ledger` is the databag before.
pub(crate) fn mirrors(ledger: &Databag, world: &World, mut seen: Databag) -> (Databag, Databag) {
    let nothing = Databag::new();
    let look = Look {
        ledger: match is_of_another_cluster(ledger, world) {
            true => &nothing,
            false => ledger,
        },
        world,
    };
    let mut names = BTreeSet::new();
    for key in look.bags().flat_map(BTreeMap::keys) {
        names.extend(name_of(key).map(str::to_owned));
        names.extend(key.strip_prefix("host-").map(str::to_owned));
    }
    names.extend(look.units().filter_map(|(_, bag)| announced(bag)));
    let mut expected = Databag::new();
    for name in names {
        let key = format!("mirror-{name}");
        match look.value(&name) {
            Ok(value) => expected.extend(value.map(|value| (key, value))),
            Err(()) => drop(seen.remove(&key)),
        }
    }
    (seen, expected)
}

/// Something is related that the ledger has never heard of, and nothing that it has is listed.
fn is_of_another_cluster(ledger: &Databag, world: &World) -> bool {
    let known = |id: &u64| ledger.contains_key(&format!("relation-{id}"));
    let served: Vec<u64> = world.relations.keys().map(|id| id.0).collect();
    let passed_over: Vec<u64> = world.passed_over.keys().map(|id| id.0).collect();
    ledger.keys().any(|key| key.starts_with("relation-"))
        && served.iter().any(|id| !known(id))
        && !served.iter().chain(&passed_over).any(known)
}

fn name_of(key: &str) -> Option<&str> {
    let is_mirrored = key.starts_with("mirror-") && key != "mirror-_bootstraps-elsewhere";
    is_mirrored.then(|| &key[7..])
}

/// The name that a unit claims, as it is noted.
fn announced(bag: &Databag) -> Option<String> {
    let name = bag.get("member").or(bag.get("hostname"))?;
    Some(match name.len() {
        ..256 => name.clone(),
        _ => printable(name),
    })
}

fn is_up(bag: &Databag) -> bool {
    bag.get("mirror").map(String::as_str) == Some("up")
}

fn is_member(bag: &Databag) -> bool {
    bag.contains_key("member") || bag.contains_key("mirror")
}

/// Letters, digits, inner dashes, dots between labels.
fn can_be_minted_for(name: &str) -> bool {
    let label = |label: &str| {
        let characters: Vec<char> = label.chars().collect();
        let is_digit = char::is_ascii_digit;
        let allowed = char::is_ascii_alphanumeric;
        match characters.as_slice() {
            [] => false,
            [only] => allowed(only) && !is_digit(only),
            [first, inner @ .., last] => {
                characters.len() < 64
                    && allowed(first)
                    && allowed(last)
                    && inner.iter().all(|c| allowed(c) || *c == '-')
                    && !characters.iter().all(is_digit)
            }
        }
    };
    name.chars().count() < 256 && name.split('.').all(label)
}

struct Look<'a> {
    ledger: &'a Databag,
    world: &'a World,
}

/// Who claims a name, as far as the value hangs on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claimed {
    Nobody,
    Somebody,
    AMember,
}

impl Look<'_> {
    fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.world.relations.values()
    }

    fn units(&self) -> impl Iterator<Item = (&UnitName, &Databag)> {
        self.relations().flat_map(|relation| &relation.units)
    }

    /// Our own bags and those of our siblings: all that any charm of ours published.
    fn published(&self) -> impl Iterator<Item = &Databag> {
        let own = self
            .relations()
            .filter_map(|relation| relation.own_unit.as_ref());
        own.chain(
            self.relations()
                .flat_map(|relation| relation.siblings.values()),
        )
    }

    fn bags(&self) -> impl Iterator<Item = &Databag> {
        let units = self.units().map(|(_, bag)| bag);
        [self.ledger]
            .into_iter()
            .chain(self.published())
            .chain(units)
    }

    /// Who claimed the name before, and whether as its member.
    fn former(&self, name: &str) -> Vec<(UnitName, bool)> {
        let text = self.ledger.get(&format!("host-{name}"));
        let words = text.into_iter().flat_map(|text| text.split(' '));
        words
            .map(|word| {
                let unit = word
                    .trim_end_matches(['*', '-', '+'])
                    .parse()
                    .expect("a unit");
                (unit, word.ends_with('*'))
            })
            .collect()
    }

    /// No relation of its application counts it: by goal-state's list, by relation-list where there
    /// is no such list, and where nobody can see that either, nothing is certain. So is nothing of
    /// an application whose relation is not served.
    fn is_gone(&self, unit: &UnitName) -> bool {
        let app = |app: &str| unit.as_str().rsplit_once('/').map(|(of, _)| of) == Some(app);
        let mut of_app = self.relations().filter(|relation| app(&relation.app));
        let mut unserved = self.world.passed_over.values().flatten();
        !unserved.any(|unserved| app(unserved))
            && !of_app.any(|relation| match (&relation.expected, &relation.joined) {
                (Some(expected), _) => expected.contains(unit),
                (None, Some(joined)) => joined.contains(unit),
                (None, None) => true,
            })
    }

    fn bag(&self, unit: &UnitName) -> Option<&Databag> {
        self.units()
            .find(|(shown, _)| *shown == unit)
            .map(|(_, bag)| bag)
    }

    /// Whose claim stands: of the units that are not gone, one that is shown claims what it says, and
    /// another what it said.
    fn claimed(&self, name: &str) -> Claimed {
        let says = |bag: &Databag| announced(bag).as_deref() == Some(name);
        let mut claims = Vec::new();
        for (unit, was_member) in self.former(name) {
            match self.bag(&unit) {
                _ if self.is_gone(&unit) => {}
                Some(bag) if says(bag) => claims.push(was_member || is_member(bag)),
                // Whoever says no name has not taken it back.
                Some(bag) if announced(bag).is_none() => claims.push(was_member),
                None => claims.push(was_member),
                Some(_) => {}
            }
        }
        let stays = |unit: &UnitName| !self.is_gone(unit);
        let living = self.units().filter(|(unit, bag)| says(bag) && stays(unit));
        claims.extend(living.map(|(_, bag)| is_member(bag)));
        match claims.as_slice() {
            [] => Claimed::Nobody,
            claims if claims.contains(&true) => Claimed::AMember,
            _ => Claimed::Somebody,
        }
    }

    /// Tokens that no longer serve. The list is of those who claimed the name without a break.
    fn spent(&self, name: &str) -> BTreeSet<String> {
        let text = self.ledger.get(&format!("spent-{name}"));
        let words = text.into_iter().flat_map(|text| text.split(' '));
        words.map(str::to_owned).collect()
    }

    /// What our bags show under a name but for this charm's constants, and then what units offer,
    /// the first to come first.
    fn offers(&self, name: &str) -> (Vec<&str>, Vec<&str>) {
        let key = format!("mirror-{name}");
        let published = self.published().filter_map(|bag| bag.get(&key));
        let published = published.filter(|value| !["member", "retired"].contains(&value.as_str()));
        let of_units = self.units().filter_map(|(_, bag)| {
            let own = announced(bag).as_deref() == Some(name);
            let value = bag.get(&key).filter(|_| is_up(bag) && !own);
            value.filter(|value| !["member", "retired"].contains(&value.as_str()))
        });
        let text = String::as_str;
        (published.map(text).collect(), of_units.map(text).collect())
    }

    fn was_shared(&self, name: &str) -> bool {
        self.former(name).iter().any(|(_, is_member)| !is_member)
    }

    fn had_member(&self, name: &str) -> bool {
        self.former(name).iter().any(|(_, is_member)| *is_member)
    }

    /// Whether a unit that claims the name refuses the token now, or did when it was last seen.
    fn is_refused(&self, name: &str, token: &str) -> bool {
        let print = fingerprint(token);
        let text = self.ledger.get(&format!("refused-{name}"));
        let mut words = text.into_iter().flat_map(|text| text.split(' '));
        let was_said = words.any(|word| {
            let (unit, refused) = word.split_once(':').expect("a unit and a fingerprint");
            let unit = unit.parse().expect("a unit");
            refused == print
                && self.bag(&unit).is_none_or(|bag| announced(bag).is_none())
                && !self.is_gone(&unit)
        });
        let is_said = self.units().any(|(unit, bag)| {
            announced(bag).as_deref() == Some(name)
                && !self.is_gone(unit)
                && bag.get("refused") == Some(&print)
        });
        was_said || is_said
    }

    /// Whether a unit refused the token when it was last seen, and says something else now.
    fn took_back(&self, name: &str, token: &str) -> bool {
        let text = self.ledger.get(&format!("refused-{name}"));
        let mut words = text.into_iter().flat_map(|text| text.split(' '));
        words.any(|word| word.ends_with(&format!(":{}", fingerprint(token))))
            && !self.is_refused(name, token)
    }

    /// The value of a name; `Err` where the order in which two units are read decides.
    fn value(&self, name: &str) -> Result<Option<String>, ()> {
        let held = self
            .ledger
            .get(&format!("mirror-{name}"))
            .map(String::as_str);
        let claimed = self.claimed(name);
        let (published, of_units) = self.offers(name);
        let was_claimed = !self.former(name).is_empty();

        // A constant of this charm, if nothing else was there first.
        let is_real = |value: &&str| *value != "empty";
        let mut firsts = held
            .into_iter()
            .chain(published.iter().copied())
            .filter(is_real);
        let first = firsts.next();
        let word = |value: &&str| matches!(*value, "member" | "retired");
        let constant = first.filter(word);

        // The first token that serves, and of those that do not the one that is held.
        let mut spent = self.spent(name);
        let all = published.iter().chain(&of_units).copied();
        let tokens: Vec<&str> = all.filter(|value| is_real(value) && !word(value)).collect();
        let mut token = held.filter(|value| is_real(value) && !word(value));
        // What was said of its tokens goes with the last that claims it, before or after another offer.
        let stays = |unit: &UnitName| {
            let bag = self.bag(unit);
            !self.is_gone(unit)
                && bag.is_none_or(|bag| announced(bag).is_none_or(|said| said == name))
        };
        let is_kept = self.former(name).iter().any(|(unit, _)| stays(unit));
        if !is_kept && !spent.is_empty() && !tokens.is_empty() {
            return Err(());
        }
        // Our bags are read before the unit that takes its refusal back.
        if published.iter().any(|token| self.took_back(name, token)) {
            return Err(());
        }
        loop {
            let serves = |token: &&str| !spent.contains(&fingerprint(token));
            if token.is_none_or(|held| !serves(&held)) {
                let mut serving = tokens.iter().copied().filter(serves);
                let next = serving.next();
                // One that is read after the refusal comes before one that was read earlier.
                if token.is_some() && serving.any(|other| Some(other) != next) {
                    return Err(());
                }
                token = next.or(token);
            }
            match token {
                Some(token) if self.is_refused(name, token) && spent.insert(fingerprint(token)) => {
                }
                _ => break,
            }
        }
        let is_host = can_be_minted_for(name);
        let claims = self
            .units()
            .filter(|(_, bag)| announced(bag).as_deref() == Some(name));
        let value = match claimed {
            Claimed::AMember if constant.is_some() && claims.count() > 1 => return Err(()),
            Claimed::AMember if is_host => constant.or(Some("member")),
            Claimed::Somebody if is_host && constant.is_some() && !tokens.is_empty() => {
                return Err(());
            }
            Claimed::Somebody if is_host && constant.is_some() => Some("empty"),
            Claimed::Nobody if held == constant && self.was_shared(name) => return Err(()),
            _ if constant.is_some() => constant,
            // Its member has used it.
            Claimed::AMember if token.is_some() => Some("member"),
            // Its member may have left it after that token came, or before.
            _ if token.is_some() && self.had_member(name) => return Err(()),
            _ if token.is_some() => token,
            Claimed::Somebody if is_host => Some("empty"),
            // A consumer's placeholder stays where no host's claim has come and gone.
            _ => {
                let asks = of_units.contains(&"empty");
                let keeps = held.is_some() && !was_claimed;
                (asks || keeps).then_some("empty")
            }
        };
        Ok(value.map(str::to_owned))
    }
}
