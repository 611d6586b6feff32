//! One consumer unit under test: bags in maps, a real [`Cloud`], and a record of what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use microovn::command_line;
use microovn::consumer::{self, CommandOutput, Databag, Host, Release, State};
use microovn::microcluster::{Cloud, Settings};

pub(crate) const RELATION: &str = "cluster:1";
const DANGLING: &str = "cluster:0";

/// A unit, the distributor units it sees, and the cloud its machine is part of.
pub(crate) struct Unit {
    pub(crate) release: Release,
    pub(crate) state: State,
    pub(crate) world: World,
    /// Which of several equally good candidates wins.
    pub(crate) tie: fn(usize) -> usize,
}

pub(crate) struct World {
    pub(crate) cloud: Cloud,
    pub(crate) now: u64,
    pub(crate) is_leader: bool,
    /// The first answer is the last that says so.
    pub(crate) leads_only_once: bool,
    /// Juju lists another relation, and refuses the calls that begin like this, in these words.
    pub(crate) dangling: Option<(&'static str, &'static str)>,
    pub(crate) own: Databag,
    pub(crate) remote: BTreeMap<String, Databag>,
    pub(crate) app: Databag,
    /// The relation is gone: reading finds nothing, writing is refused.
    pub(crate) gone: bool,
    /// Commands of the snap that fail whatever the cloud says, for example `cluster join`.
    pub(crate) refuse: BTreeSet<&'static str>,
    pub(crate) patience: u32,
    /// Calls of `relation-set`, ever.
    pub(crate) writes: usize,
    machine: String,
    /// Since the last look: commands of the snap, statuses, log lines.
    pub(crate) commands: Vec<String>,
    statuses: Vec<String>,
    pub(crate) log: Vec<String>,
}

impl Unit {
    /// Unit `C/0` on machine `machine`, in a relation in which no unit has written anything.
    pub(crate) fn new(release: Release, machine: &str) -> Self {
        Unit {
            release,
            state: State::default(),
            world: World {
                cloud: Cloud::new(Settings::default(), 1),
                now: 0,
                is_leader: false,
                leads_only_once: false,
                dangling: None,
                own: Databag::new(),
                remote: BTreeMap::new(),
                app: Databag::new(),
                gone: false,
                refuse: BTreeSet::new(),
                patience: 40,
                writes: 0,
                machine: machine.to_owned(),
                commands: Vec::new(),
                statuses: Vec::new(),
                log: Vec::new(),
            },
            tie: |_| 0,
        }
    }

    pub(crate) fn leader(mut self) -> Self {
        self.world.is_leader = true;
        self
    }

    /// There is a cluster, formed by these machines in this order, with all roles handed out.
    pub(crate) fn beside(mut self, oldest: &str, others: &[&str]) -> Self {
        let cloud = &mut self.world.cloud;
        cloud.bootstrap(oldest, 0).unwrap();
        for other in others {
            let token = cloud.add(oldest, other, None, 0).unwrap();
            cloud.join(other, &token, 0).unwrap();
        }
        self.world.now = 100;
        cloud.advance(100);
        self
    }

    /// The same, and this unit knows itself to be a member.
    pub(crate) fn member(mut self, oldest: &str, others: &[&str]) -> Self {
        self.state.in_cluster = true;
        self.beside(oldest, others)
    }

    pub(crate) fn distributor(mut self, unit: &str, bag: &[(&str, &str)]) -> Self {
        self.world.remote.insert(unit.to_owned(), databag(bag));
        self
    }

    pub(crate) fn app_bag(mut self, bag: &[(&str, &str)]) -> Self {
        self.world.app = databag(bag);
        self
    }

    pub(crate) fn own(mut self, bag: &[(&str, &str)]) -> Self {
        self.world.own = databag(bag);
        self
    }

    /// Runs one hook. As Juju does, keeps what it wrote only if it succeeds.
    pub(crate) fn run(&mut self, hook: &str) -> i32 {
        let mut environment: BTreeMap<String, String> = BTreeMap::new();
        let mut set = |name: &str, value: &str| environment.insert(name.into(), value.into());
        set("JUJU_DISPATCH_PATH", &format!("hooks/{hook}"));
        set("JUJU_UNIT_NAME", "C/0");
        if hook.starts_with("cluster-relation-") {
            set("JUJU_RELATION_ID", RELATION);
            set("JUJU_REMOTE_APP", "P");
            set("JUJU_REMOTE_UNIT", "P/0");
        }
        let before = self.world.own.clone();
        let mut tie = self.tie;
        let status = consumer::dispatch(
            self.release,
            &environment,
            &mut self.state,
            &mut self.world,
            &mut tie,
        );
        if status != 0 {
            self.world.own = before;
        }
        status
    }

    /// The snap's commands since the last call, without the lists.
    pub(crate) fn commands(&mut self) -> Vec<String> {
        let mut commands = std::mem::take(&mut self.world.commands);
        commands.retain(|command| !command.starts_with("cluster list"));
        commands
    }

    pub(crate) fn statuses(&mut self) -> Vec<String> {
        std::mem::take(&mut self.world.statuses)
    }

    pub(crate) fn own_is(&self, expected: &[(&str, &str)], case: &str) {
        assert_eq!(self.world.own, databag(expected), "{case}");
    }
}

pub(crate) fn databag(entries: &[(&str, &str)]) -> Databag {
    let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
    entries.iter().map(owned).collect()
}

impl World {
    fn readable(&self, owner: &str, app: bool) -> Databag {
        match (app, owner) {
            _ if self.gone => panic!("a bag of a relation that is gone was asked for"),
            (true, "P") => self.app.clone(),
            (false, "C/0") => self.own.clone(),
            (false, unit) => self.remote[unit].clone(),
            (true, app) => panic!("no application {app}"),
        }
    }
}

impl Host for World {
    fn hook_tool(&mut self, tool: &str, args: &[String], stdin: Option<&[u8]>) -> CommandOutput {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let json = |value: serde_json::Value| CommandOutput::success(value.to_string());
        let gone = || {
            let message = "ERROR invalid value \"cluster:1\" for option -r: relation not found\n";
            CommandOutput::failure(2, message)
        };
        if let Some((call, words)) = self.dangling
            && args.contains(&DANGLING)
        {
            let known = args
                .iter()
                .filter(|arg| !["-r", "--format=json"].contains(arg));
            let line = known.fold(tool.to_owned(), |line, arg| format!("{line} {arg}"));
            return match tool {
                _ if line.starts_with(call) => {
                    CommandOutput::failure(1, format!("ERROR {words}\n"))
                }
                "relation-list" if args.contains(&"--app") => json("P".into()),
                "relation-list" => json(serde_json::json!(["P/0"])),
                "relation-get" => json(serde_json::json!({})),
                _ => CommandOutput::default(),
            };
        }
        match (tool, args.as_slice()) {
            ("relation-list" | "relation-get" | "relation-set", _) if self.gone => gone(),
            ("is-leader", ["--format=json"]) => {
                let answer = json(self.is_leader.into());
                self.is_leader &= !self.leads_only_once;
                answer
            }
            ("relation-ids", ["cluster", "--format=json"]) => {
                json(serde_json::json!(match self.dangling {
                    _ if self.gone => vec![],
                    Some(_) => vec![DANGLING, RELATION],
                    None => vec![RELATION],
                }))
            }
            ("relation-list", ["--format=json", "-r", RELATION]) => {
                json(serde_json::json!(self.remote.keys().collect::<Vec<_>>()))
            }
            ("relation-list", ["--format=json", "--app", "-r", RELATION]) => json("P".into()),
            ("relation-get", ["--format=json", "-r", RELATION, "-", owner]) => {
                json(serde_json::json!(self.readable(owner, false)))
            }
            ("relation-get", ["--format=json", "-r", RELATION, "--app", "-", owner]) => {
                json(serde_json::json!(self.readable(owner, true)))
            }
            ("relation-set", ["-r", RELATION, "--file", "-"]) => {
                let document: Databag = serde_json::from_slice(stdin.unwrap()).unwrap();
                self.own.extend(document);
                self.own.retain(|_, value| !value.is_empty());
                self.writes += 1;
                CommandOutput::default()
            }
            ("status-get", ["--include-data", "--format=json", "--application=false"]) => {
                let last = self
                    .statuses
                    .last()
                    .map_or("maintenance before", String::as_str);
                let (status, message) = last.split_once(' ').unwrap();
                json(serde_json::json!({"status": status, "message": message, "status-data": {}}))
            }
            ("status-set", ["--application=False", status, "--", message]) => {
                self.statuses.push(format!("{status} {message}"));
                CommandOutput::default()
            }
            ("juju-log", ["--log-level", _, "--", line]) => {
                self.log.push((*line).to_owned());
                CommandOutput::default()
            }
            _ => panic!("unexpected {tool} {args:?}"),
        }
    }

    fn microovn(&mut self, args: &[&str]) -> CommandOutput {
        let command = args.join(" ");
        let refused = self.refuse.iter().any(|start| command.starts_with(start));
        self.commands.push(command);
        match refused {
            true => CommandOutput::failure(1, "Error: refused\n"),
            false => command_line::microovn(&mut self.cloud, &self.machine, args, self.now),
        }
    }

    fn hostname(&self) -> String {
        self.machine.clone()
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn wait_for_pending(&mut self) -> ControlFlow<()> {
        self.now += 1;
        match self.patience {
            0 => return ControlFlow::Break(()),
            _ => self.patience -= 1,
        }
        ControlFlow::Continue(())
    }
}
