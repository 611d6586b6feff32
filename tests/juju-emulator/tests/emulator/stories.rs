//! Plays the stories in `stories/`: somebody does something, and Juju answers.
//!
//! ```text
//! # title                        a story, on both generations of Juju
//! juju 4                         or on one
//! settled 2 1                    two units of `p` and one of `r`, related by `db` and at rest
//! p/0> relation-get -r 1 a r/0   a hook tool in an update-status hook, and what it prints
//!   1
//! p/0 db-relation-changed r/0:   several in one hook, and what becomes of it
//!   > relation-set -r 1 --app a=1
//!   lost permission denied
//! when * config-changed:         the same in each such hook that comes from now on
//!   exit 1
//! settle                         everybody rests; below it the hooks that units have run meanwhile
//!   p/0: db-relation-changed r/0
//! ```
//!
//! `! 2 words` is a refusal, `...` is anything, `word << text` has standard input. What begins with
//! `[3]` is for Juju 3 alone. All other lines are verbs of [`Player::act`].

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use juju_emulator::JujuGeneration::{self, Four, Three};
use juju_emulator::agent::{Hook, RelationEvent};
use juju_emulator::model::BagOwner;
use juju_emulator::world::Begun;
use juju_emulator::{
    AppName, Complaint, ConsumedOffer, Effect, Fault, HookRun, Injection, Party, RelationId,
    ToolOutput, UnitName, Unserved, World,
};

use crate::support::{BOTH, Environment, Rig, Tools, relation_hook};

/// Plays each story of a file to its end, whatever becomes of the others.
fn play(file: &str, text: &str, at_least: usize) {
    let lines: Vec<(usize, &str)> = (1..).zip(text.lines()).collect();
    let stories = lines.split(|(_, line)| line.starts_with("# ")).skip(1);
    let plays = stories.flat_map(|story| BOTH.map(|generation| (story, generation)));
    let (mut played, mut wrong) = (0, 0);
    for (story, generation) in plays {
        let play = || Player::new(file, generation).play(story);
        match catch_unwind(AssertUnwindSafe(play)) {
            Ok(is_played) => played += usize::from(is_played),
            Err(_) => wrong += 1,
        }
    }
    assert_eq!(wrong, 0, "{file}: so many go otherwise");
    assert!(played >= at_least, "{file}: only {played}");
}

#[test]
fn what_is_committed_and_who_sees_it() {
    play("commit", include_str!("stories/commit.txt"), 37);
}

#[test]
fn which_hook_comes_next() {
    play("order", include_str!("stories/order.txt"), 23);
}

#[test]
fn what_peers_see_of_each_other() {
    play("peers", include_str!("stories/peers.txt"), 25);
}

#[test]
fn what_was_seen_on_a_real_controller() {
    play("seen", include_str!("stories/seen.txt"), 20);
}

#[test]
fn what_hook_tools_answer() {
    play("tools", include_str!("stories/tools.txt"), 15);
}

#[test]
fn what_only_some_jujus_do() {
    play("quirks", include_str!("stories/quirks.txt"), 6);
}

/// What can be looked at.
const FACTS: [&str; 9] = [
    "bag", "gone", "leader", "log", "machine", "peers", "results", "status", "version",
];

/// A statement and the lines below it, without their indentation.
struct Statement<'a> {
    at: usize,
    text: &'a str,
    below: Vec<(usize, &'a str)>,
}

/// What a charm does in a hook.
struct Script {
    at: usize,
    unit: String,
    hook: String,
    lines: Vec<(usize, String)>,
    runs: Cell<usize>,
}

struct Player {
    file: String,
    generation: JujuGeneration,
    rig: Option<Rig>,
    /// The name of the last application from another model.
    remote: String,
    scripts: Rc<RefCell<Vec<Rc<Script>>>>,
    /// What the last action left.
    results: String,
}

/// The line for this generation, if it is for it.
fn line_for(generation: JujuGeneration, line: &str) -> Option<&str> {
    let indent = line.len() - line.trim_start().len();
    let (other, own) = match generation {
        Three => ("[4] ", "[3] "),
        Four => ("[3] ", "[4] "),
    };
    match line[indent..].starts_with(other) {
        true => None,
        false => Some(line[indent..].strip_prefix(own).unwrap_or(&line[indent..])),
    }
}

fn statements<'a>(generation: JujuGeneration, lines: &[(usize, &'a str)]) -> Vec<Statement<'a>> {
    let mut statements: Vec<Statement<'_>> = Vec::new();
    let mut is_for_it = true;
    for &(at, line) in lines.iter().filter(|(_, line)| !line.is_empty()) {
        let text = line_for(generation, line);
        if line.starts_with(' ') {
            let below = statements.last_mut().map(|statement| &mut statement.below);
            if let (true, Some(below), Some(text)) = (is_for_it, below, text) {
                below.push((at, text));
            }
            continue;
        }
        is_for_it = text.is_some();
        let below = Vec::new();
        statements.extend(text.map(|text| Statement { at, text, below }));
    }
    statements
}

impl Script {
    fn run(&self, file: &str, environment: &Environment, tools: &mut Tools<'_, '_>) -> i32 {
        let runs = self.runs.replace(self.runs.get() + 1);
        let mut code = 0;
        let mut lines = self.lines.iter().peekable();
        while let Some((at, line)) = lines.next() {
            let place = format!("{file}:{at}: {line}");
            match line.split_once(' ').unwrap_or((line, "")) {
                (">", call) => {
                    let mut answer = Vec::new();
                    while let Some((_, line)) = lines.next_if(|(_, line)| !is_command(line)) {
                        answer.push(line.as_str());
                    }
                    let (call, stdin) = match call.split_once(" << ") {
                        Some((call, "''")) => (call, Some("")),
                        Some((call, stdin)) => (call, Some(stdin)),
                        None => (call, None),
                    };
                    let output = tools.call_with(call, stdin.map(str::as_bytes));
                    check(&place, &answer, &output);
                }
                ("env", variable) => {
                    let (name, value) = variable.split_once(' ').unwrap_or((variable, ""));
                    let found = environment.get(name).map(String::as_str);
                    assert_eq!(found, Some(value), "{place}");
                }
                ("exit", words) => {
                    let (exit, times) = words.split_once(" times ").unwrap_or((words, "1000000"));
                    if runs < times.parse().unwrap() {
                        code = exit.parse().unwrap();
                    }
                }
                _ => {}
            }
        }
        code
    }
}

/// Everything below a hook that is no answer.
fn is_command(line: &str) -> bool {
    let word = line.split(' ').next().unwrap_or_default();
    [">", "env", "exit", "committed", "lost", "wrote"].contains(&word)
}

fn check(place: &str, answer: &[&str], output: &ToolOutput) {
    match answer {
        ["..."] => assert_eq!(output.code, 0, "{place}: {output:?}"),
        [one] if one.starts_with("! ") => {
            let (code, words) = one[2..].split_once(' ').unwrap_or((&one[2..], ""));
            assert_eq!(output.code.to_string(), code, "{place}: {output:?}");
            let expected = ToolOutput::error(output.code, words);
            assert!(
                words.is_empty() || *output == expected,
                "{place}: {output:?}"
            );
        }
        lines => {
            let expected: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let printed = String::from_utf8_lossy(&output.stdout);
            assert_eq!(
                (output.code, &*printed),
                (0, &*expected),
                "{place}: {output:?}"
            );
        }
    }
}

fn hook(text: &str) -> Hook {
    let (name, about) = text.split_once(' ').unwrap_or((text, ""));
    let Some((endpoint, event)) = name.split_once("-relation-") else {
        return match name {
            "update-status" => Hook::UpdateStatus,
            "start" => Hook::Start,
            name => Hook::Named(name.to_owned()),
        };
    };
    let unit = UnitName::parse(about);
    let event = match (event, unit) {
        ("created", _) => RelationEvent::Created,
        ("broken", _) => RelationEvent::Broken,
        ("departed", Some(unit)) => RelationEvent::Departed { unit },
        ("joined", Some(unit)) => RelationEvent::Joined { unit, version: 0 },
        ("changed", Some(unit)) => RelationEvent::UnitChanged { unit, version: 0 },
        ("changed", None) => RelationEvent::AppChanged {
            app: AppName::new(about),
            version: 0,
        },
        _ => panic!("no hook {text}"),
    };
    relation_hook(endpoint, event)
}

fn id(text: &str) -> RelationId {
    RelationId(text.parse().unwrap())
}

fn pairs<'a>(words: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    words
        .iter()
        .map(|word| word.split_once('=').unwrap())
        .collect()
}

/// A run as stories name it: the hook, and `about` if they say more.
fn is_run(run: &HookRun, named: &str, remote: &str) -> bool {
    match named.split_once(' ') {
        None => run.hook == named,
        Some((hook, about)) => {
            let about = about.replace("$remote", remote);
            run.hook == hook && run.remote_unit.as_deref().unwrap_or("~") == about
        }
    }
}

impl Player {
    fn new(file: &str, generation: JujuGeneration) -> Self {
        let file = format!("{generation:?} {file}");
        Player {
            file,
            generation,
            rig: None,
            remote: String::new(),
            scripts: Rc::default(),
            results: String::new(),
        }
    }

    fn play(mut self, lines: &[(usize, &str)]) -> bool {
        let statements = statements(self.generation, lines);
        let only = statements[0].text.strip_prefix("juju ");
        let own = match self.generation {
            Three => "3",
            Four => "4",
        };
        if only.is_some_and(|only| only != own) {
            return false;
        }
        for statement in &statements[usize::from(only.is_some())..] {
            self.state(statement);
        }
        for script in self.scripts.borrow().iter() {
            assert!(script.runs.get() > 0, "{}:{}: never", self.file, script.at);
        }
        true
    }

    fn world(&mut self) -> &mut World {
        &mut self.rig.as_mut().expect("`settled` or `fresh`").world
    }

    fn filled(&self, text: &str) -> String {
        let text = text.replace("$remote", &self.remote);
        match text
            .split_once("{x*")
            .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        {
            Some((before, (count, after))) => {
                format!("{before}{}{after}", "x".repeat(count.parse().unwrap()))
            }
            None => text,
        }
    }

    fn script(&self, unit: &str, hook: &str, statement: &Statement<'_>) -> Script {
        let below = statement.below.iter();
        Script {
            at: statement.at,
            unit: unit.to_owned(),
            hook: hook.to_owned(),
            lines: below.map(|(at, line)| (*at, self.filled(line))).collect(),
            runs: Cell::new(0),
        }
    }

    fn state(&mut self, statement: &Statement<'_>) {
        let (place, text) = (format!("{}:{}", self.file, statement.at), statement.text);
        let first = text.split(' ').next().unwrap_or_default();
        if let Some((asks, line)) = text.split_once("> ") {
            let (unit, hook) = asks.split_once(' ').unwrap_or((asks, "update-status"));
            let mut below = vec![(statement.at, "> ")];
            let call = format!("> {line}");
            below[0].1 = &call;
            below.extend(&statement.below);
            self.in_hook(
                unit,
                hook,
                &Statement {
                    below,
                    ..*statement
                },
            );
        } else if first == "when" {
            let words = text
                .trim_end_matches(':')
                .splitn(3, ' ')
                .collect::<Vec<_>>();
            let script = self.script(words[1], words[2], statement);
            self.scripts.borrow_mut().push(Rc::new(script));
        } else if first.contains('/') && text.ends_with(':') {
            let (unit, hook) = text.trim_end_matches(':').split_once(' ').unwrap();
            self.in_hook(unit, hook, statement);
        } else if first == "settle" {
            self.world().clear_history();
            self.rig.as_mut().unwrap().settle();
            statement
                .below
                .iter()
                .for_each(|(at, line)| self.has_run(*at, line));
        } else if let (true, Some((what, value))) = (
            FACTS.contains(&first.trim_end_matches(':')),
            text.split_once(':'),
        ) {
            let words: Vec<&str> = what.split(' ').collect();
            self.is(&place, &words, value.trim_start());
        } else {
            let filled = self.filled(text);
            let words: Vec<&str> = filled.split(' ').collect();
            let done = self
                .act(words[0], &words[1..])
                .map_err(|error| error.to_string());
            match statement.below.first() {
                None => done.unwrap_or_else(|error| panic!("{place}: {error}")),
                Some((_, refusal)) => {
                    let error = done.expect_err(&place);
                    let words = refusal.strip_prefix("! ").expect("a refusal");
                    assert!(error.contains(words), "{place}: {error}");
                }
            }
        }
    }

    fn in_hook(&mut self, unit: &str, name: &str, statement: &Statement<'_>) {
        let place = format!("{}:{}", self.file, statement.at);
        let hook_name = name.split(' ').next().unwrap_or_default();
        let script = Rc::new(self.script(unit, hook_name, statement));
        self.scripts.borrow_mut().insert(0, Rc::clone(&script));
        let commits = self.world().commits().len();
        let run = self.world().run_hook(unit, hook(name)).expect(&place);
        assert_eq!(script.runs.get(), 1, "{place}");
        self.scripts.borrow_mut().remove(0);
        let mut wrote = Vec::new();
        for (_, line) in &statement.below {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("committed", _) => assert!(run.committed, "{place}: {run:?}"),
                ("lost", words) => {
                    let failure = run.failure.as_deref().expect(&place);
                    assert!(
                        !run.committed && failure.contains(words),
                        "{place}: {failure}"
                    );
                }
                ("wrote", what) => wrote.push(what.to_owned()),
                _ => {}
            }
        }
        if !wrote.is_empty() {
            let commits = &self.world().commits()[commits..];
            let changes = commits.iter().flat_map(|commit| &commit.changes);
            let written = changes.flat_map(|change| {
                let owner = match &change.owner {
                    BagOwner::App(app) => app.to_string(),
                    BagOwner::Unit(unit) => unit.to_string(),
                };
                let value = |(key, (_, after)): (&String, &(_, Option<String>))| {
                    let after = after.clone().unwrap_or_default();
                    format!("{} {owner} {key}={after}", change.relation)
                };
                change.keys.iter().map(value).collect::<Vec<_>>()
            });
            assert_eq!(written.collect::<Vec<_>>(), wrote, "{place}");
        }
    }

    /// The hooks that a unit has run, in order; `any:` in any order; `no`, that it ran none of them.
    fn has_run(&mut self, at: usize, line: &str) {
        let place = format!("{}:{at}: {line}", self.file);
        let remote = self.remote.clone();
        let runs: Vec<HookRun> = self.world().runs().to_vec();
        if let Some((first, second)) = line.split_once(" before ") {
            let position = |named: &str| {
                let (unit, hook) = named.split_once(' ').unwrap();
                let of = |run: &HookRun| run.unit.as_str() == unit && run.hook == hook;
                runs.iter()
                    .position(of)
                    .unwrap_or_else(|| panic!("{place}: no {named}"))
            };
            assert!(position(first) < position(second), "{place}");
            return;
        }
        let (whose, hooks) = line.split_once(": ").unwrap();
        let (unit, how) = whose.split_once(' ').unwrap_or((whose, ""));
        let mut own: Vec<&HookRun> = runs
            .iter()
            .filter(|run| run.unit.as_str() == unit)
            .collect();
        let mut expected: Vec<&str> = hooks.split(", ").filter(|hook| *hook != "-").collect();
        match how {
            "any" => {
                own.sort_by_key(|run| (run.hook.clone(), run.remote_unit.clone()));
                expected.sort_unstable();
            }
            "no" => {
                let ran = own
                    .iter()
                    .any(|run| expected.iter().any(|hook| run.hook.starts_with(hook)));
                return assert!(!ran, "{place}");
            }
            "ends" => drop(own.drain(..own.len() - expected.len())),
            _ => {}
        }
        let named =
            |run: &&HookRun| format!("{} {}", run.hook, run.remote_unit.as_deref().unwrap_or("~"));
        let same = own.len() == expected.len()
            && own
                .iter()
                .zip(&expected)
                .all(|(run, named)| is_run(run, named, &remote));
        assert!(
            same,
            "{place}: {:?}",
            own.iter().map(named).collect::<Vec<_>>()
        );
    }

    /// How things are.
    fn is(&mut self, place: &str, what: &[&str], value: &str) {
        let value = self.filled(value);
        let world = self.world();
        let found = match what {
            ["bag", relation, owner] => {
                let bag = match owner.contains('/') {
                    true => world.unit_bag(id(relation), owner),
                    false => world.app_bag(id(relation), owner),
                };
                for word in value.split(", ") {
                    match (word.strip_prefix('-'), word.split_once('=')) {
                        (Some(key), _) => assert!(!bag.contains_key(key), "{place}: {bag:?}"),
                        (_, Some((key, value))) => {
                            assert_eq!(bag.get(key).map(String::as_str), Some(value), "{place}");
                        }
                        _ => assert_eq!(bag.len().to_string(), word, "{place}: {bag:?}"),
                    }
                }
                return;
            }
            ["status", unit] => {
                let units = world.status();
                let unit = units
                    .iter()
                    .find(|it| it.unit.as_str() == *unit)
                    .expect(place);
                match value.contains(' ') {
                    true => format!("{} {}", unit.agent, unit.message),
                    false => unit.agent.clone(),
                }
            }
            ["leader", app] => {
                let application = world.model().application(app).unwrap();
                application
                    .leader
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default()
            }
            ["machine", unit] => world.model().unit(unit).unwrap().1.machine.to_string(),
            ["results"] => self.results.clone(),
            ["version", unit] => world.model().unit(unit).unwrap().1.workload_version.clone(),
            ["log"] => {
                let log = world.model().log.iter();
                log.map(|line| format!("{} {}", line.level, line.text))
                    .collect::<Vec<_>>()
                    .join(" | ")
            }
            ["gone"] => {
                let model = world.model();
                let gone = match value.split_once(' ') {
                    Some(("relation", number)) => model.relation(id(number)).is_err(),
                    Some(("application", app)) => model.application(app).is_err(),
                    _ => model.unit(&value).is_err(),
                };
                return assert!(gone, "{place}");
            }
            ["peers"] => {
                let peers = world
                    .model()
                    .relations
                    .values()
                    .filter(|relation| relation.is_peer());
                peers
                    .map(|relation| relation.id.to_string())
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            _ => panic!("{place}: nothing is called so"),
        };
        assert_eq!(found, value, "{place}");
    }

    /// What operators, machines and controllers do.
    fn act(&mut self, verb: &str, words: &[&str]) -> Result<(), Box<dyn Error>> {
        if let "settled" | "fresh" = verb {
            self.set_up(verb, words);
            return Ok(());
        }
        let rig = self.rig.as_mut().expect("`settled` or `fresh`");
        let world = &mut rig.world;
        match (verb, words) {
            ("integrate", [one, other]) => drop(world.integrate(one, other)?),
            ("offer", [offer, consumer]) => {
                let remote = world.integrate_across_models(offer, consumer)?.1;
                assert!(remote.len() == 39 && remote != self.remote);
                self.remote = remote;
            }
            ("offer", [offer, consumer, "as", name]) => {
                self.remote = world.integrate_consumed_as(offer, consumer, name)?.1;
            }
            ("add-unit", [app]) => drop(world.add_unit(app)?),
            ("add-subordinate", [app, principal]) => drop(world.add_subordinate(app, principal)?),
            ("remove-unit", [unit]) => world.remove_unit(unit)?,
            ("lose-unit", [unit]) => world.lose_unit(unit)?,
            ("remove-application", [app]) => world.remove_application(app)?,
            ("remove-relation", [number]) => world.remove_relation(id(number))?,
            ("remove-relation-by-force", [number]) => {
                world.model_mut().force_remove_relation(id(number))?;
            }
            ("suspend", [number]) => world.suspend_relation(id(number))?,
            ("resume", [number]) => world.resume_relation(id(number))?,
            ("config", values) => world.set_config("p", &pairs(values))?,
            ("reset", keys) => world.reset_config("p", keys)?,
            ("lead", [unit]) => world.set_leader(unit)?,
            ("lose-leadership", [app]) => world.lose_leadership(app)?,
            ("restart", [unit]) => world.restart_agent(unit)?,
            ("update-status", [unit]) => world.fire_update_status(unit)?,
            ("resolved", [unit]) => world.resolved(unit, false)?,
            ("fail-for-good", []) => world.set_automatic_retry(false),
            ("at", [seconds]) => {
                world.model_mut().now = Duration::from_secs(seconds.parse().unwrap());
            }
            ("deploy", [app, metadata @ ..]) => {
                let charm = rig.charm(&metadata.join(" "), "", "");
                drop(rig.world.deploy(app, &charm, 0, &[])?);
            }
            ("refresh", [app, metadata @ ..]) => {
                let charm = rig.charm(&metadata.join(" "), "", "");
                rig.world.refresh(app, &charm)?;
            }
            // Nobody else acts meanwhile.
            ("alone", [unit, until @ ..]) => {
                let name = UnitName::parse(unit).unwrap();
                loop {
                    let enough = match until {
                        ["until-started"] => world.agent(unit)?.started,
                        ["until-in", number] => {
                            let mut sides = world.model().relation(id(number))?.sides.iter();
                            sides.any(|side| side.members.contains_key(&name))
                        }
                        _ => false,
                    };
                    if enough {
                        break;
                    }
                    match world.begin(&name) {
                        Begun::Open(open) => world.finish(*open),
                        Begun::Internal => {}
                        Begun::Nothing => break,
                    }
                }
            }
            ("unserved", [number, complaint, only @ ..]) => {
                let named = |it: &Complaint| format!("{it:?}") == *complaint;
                let complaint = Complaint::ALL.into_iter().find(named).unwrap();
                let only = only.first().map(|only| match UnitName::parse(only) {
                    Some(unit) => Party::Unit(unit),
                    None => Party::Application(AppName::new(only)),
                });
                world
                    .model_mut()
                    .stop_serving(id(number), Unserved { complaint, only })?;
            }
            ("action", [unit, name, parameters]) => {
                let result = world.run_action(unit, name, serde_json::from_str(parameters)?)?;
                let said = result.log.iter().map(|line| format!(" {line}"));
                self.results = serde_json::to_string(&result.results)? + &said.collect::<String>();
                return result.failure.map_or(Ok(()), |failure| Err(failure.into()));
            }
            ("fault", [effect, rest @ ..]) => world.inject(fault(effect, rest)),
            ("quirk", [name, values @ ..]) => {
                let quirks = &mut world.model_mut().quirks;
                let value = values.join(" ");
                match *name {
                    "goal-state-fails" => quirks.goal_state_fails = Some(value),
                    "silent" => {
                        quirks.silent_units =
                            values.iter().filter_map(|it| UnitName::parse(it)).collect()
                    }
                    "consumed-offers" => {
                        quirks.consumed_offers = Some(match &*value {
                            "name" => ConsumedOffer::Name,
                            "url" => ConsumedOffer::Url,
                            _ => ConsumedOffer::Nothing,
                        });
                    }
                    name => panic!("no quirk {name}"),
                }
            }
            _ => panic!("{}: nobody can {verb} {words:?}", self.file),
        }
        Ok(())
    }

    fn set_up(&mut self, verb: &str, words: &[&str]) {
        let [providers, requirers] = [0, 1].map(|at| words[at].parse().unwrap());
        let mut rig = match verb {
            "settled" => Rig::settled(self.generation, providers, requirers),
            _ => Rig::fresh(self.generation, 1, providers, requirers),
        };
        let (scripts, file) = (Rc::clone(&self.scripts), self.file.clone());
        rig.charms(move |unit, environment, tools| {
            let scripts: Vec<Rc<Script>> = scripts.borrow().clone();
            let path = environment["JUJU_DISPATCH_PATH"].rsplit_once('/');
            let hook = path.map(|(_, hook)| hook).unwrap_or_default();
            let is_meant = |script: &&Rc<Script>| {
                let same = |wanted: &str, found: &str| wanted == "*" || wanted == found;
                same(&script.unit, unit.as_str()) && same(&script.hook, hook)
            };
            let script = scripts.iter().find(is_meant);
            script.map_or(0, |script| {
                script.run(&file, environment, &mut Tools(tools))
            })
        });
        self.rig = Some(rig);
    }
}

/// `EFFECT at N [TOOL]`, or a fault without a place; then `on UNIT` and `during HOOK`.
fn fault(effect: &str, words: &[&str]) -> Injection {
    let after = |word: &str| {
        words
            .iter()
            .position(|it| *it == word)
            .map(|at| words[at + 1])
    };
    let effect = match effect {
        "refuse-commit" => return Injection::new(Fault::RefuseCommit).on(words[1]),
        "repeat-changed" => return Injection::new(Fault::DuplicateChanged).on(words[1]),
        "lose-leadership" => Effect::LoseLeadership,
        "lose-lease" => Effect::LoseLease,
        effect => match effect.rsplit_once('-') {
            Some(("remove-relation", number)) => Effect::RemoveRelation(id(number)),
            Some(("force-remove-relation", number)) => Effect::ForceRemoveRelation(id(number)),
            _ => panic!("no effect {effect}"),
        },
    };
    let call = after("at").unwrap().parse().unwrap();
    let mut injection = match after("of") {
        Some(tool) => Injection::at_tool(tool, call, effect),
        None => Injection::at_call(call, effect),
    };
    if let Some(unit) = after("on") {
        injection = injection.on(unit);
    }
    match after("during") {
        Some(hook) => injection.during(hook),
        None => injection,
    }
}

/// The tables of `README.md` name stories and tests that are there.
#[test]
fn the_table_names_what_is_there() {
    let sources = [
        include_str!("stories/commit.txt"),
        include_str!("stories/order.txt"),
        include_str!("stories/peers.txt"),
        include_str!("stories/seen.txt"),
        include_str!("chance.rs"),
        include_str!("seen.rs"),
        include_str!("../cases.rs"),
    ];
    let rows = include_str!("../../README.md").lines();
    let cells = rows.filter_map(|row| row.strip_prefix("| ")?.rsplit(" | ").next());
    let code = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let named: Vec<&str> = code.filter(|name| !name.contains('.')).collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        let is_there =
            |line: &str| line == format!("# {name}") || line.contains(&format!("fn {name}()"));
        assert!(
            sources.iter().any(|source| source.lines().any(is_there)),
            "{name}"
        );
    }
}
