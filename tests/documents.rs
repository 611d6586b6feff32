//! The documents against what they describe: commands, links, options, actions, statuses, tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use microcluster_token_distributor::core::fingerprint::fingerprint;
use microcluster_token_distributor::core::ledger::{Key, Ledger};
use microcluster_token_distributor::core::status::{self, Problem, Status};
use microcluster_token_distributor::core::wire::{self, Databag};
use serde_yaml::Value;

/// Every command of a document that needs no controller, and where it is run, or at least checked.
const RUN_HERE: [(&str, &str, &str); 8] = [
    (
        "cargo run --release -p juju-emulator -- demo",
        "tests/juju-emulator/tests/demo.rs",
        "fn three_hosts_become_one_cluster()",
    ),
    (
        "cargo test --workspace",
        "Makefile",
        "unit: library\n\tcargo test --locked --workspace",
    ),
    ("make ci", "Makefile", "ci:\n\t.ci/run"),
    ("make format", "Makefile", "format: target/lint.stamp\n"),
    (
        "make lint",
        ".github/workflows/checks.yaml",
        "run: make lint",
    ),
    ("make library", "Makefile", "unit: library\n"),
    ("make pack", ".ci/run", "scripts/pack"),
    ("make unit", ".ci/run", "step make unit"),
];

/// Measurements, too long for every change. That there is such a command is checked, not its
/// answer.
const MEASUREMENTS: [&str; 2] = ["cargo bench ", "cargo test "];

/// The emulator's commands, of which the above is true as well.
const EMULATOR: &str = "cargo run --release -p juju-emulator -- ";

/// What makes the figures of tests/performance; a test of that package runs all of it on small sizes.
const PERFORMANCE: &str = "cargo run --release -p performance";

/// The charm's own command line. These are run by the test that finds them.
const OURS: &str = "cargo run --release -- ";

#[test]
fn every_command_is_run_here_or_needs_a_controller() {
    let mut used = BTreeSet::new();
    for document in documents() {
        for block in document.blocks() {
            assert!(!block.info.is_empty(), "{}: say what it is", block.place());
            if !["sh", "console", "bash", "shell"].contains(&block.language()) {
                continue;
            }
            assert_eq!(block.language(), "sh", "{}", block.place());
            // Neither a controller nor root with a network is at hand where tests run. What needs a
            // controller is in the next test, and tests/library/test_documents.py follows the
            // tutorial for consumers.
            let elsewhere = ["sh controller", "sh network", "sh tutorial"];
            let runs_elsewhere = elsewhere.contains(&block.info.as_str());
            assert!(
                runs_elsewhere || block.info == "sh",
                "{}: {:?}",
                block.place(),
                block.info
            );
            for command in block.commands() {
                if runs_elsewhere {
                    continue;
                }
                let known = RUN_HERE.iter().find(|(known, _, _)| *known == command);
                if let Some((known, file, needle)) = known {
                    assert!(read(file).contains(needle), "{file} does not {known}");
                    used.insert(*known);
                } else if let Some(arguments) = command.strip_prefix(OURS) {
                    run_ours(arguments);
                } else {
                    let there = MEASUREMENTS.iter().any(|known| command.starts_with(known))
                        || command
                            .strip_prefix(EMULATOR)
                            .is_some_and(is_of_the_emulator)
                        || command
                            .strip_prefix(PERFORMANCE)
                            .is_some_and(is_of_performance);
                    assert!(there, "{}: who runs {command:?}?", block.place());
                }
            }
        }
    }
    for (known, _, _) in RUN_HERE {
        assert!(used.contains(known), "no document has {known:?} any more");
    }
}

#[test]
fn every_command_that_needs_a_controller_is_in_the_integration_suite() {
    let suite = files(&["tests/integration"], "py");
    let suite: String = suite.into_iter().map(read).collect();
    let run: Vec<Form> = suite
        .replace("\\\\\n", " ")
        .lines()
        .flat_map(forms)
        .collect();
    let mut seen = 0;
    for block in documents().iter().flat_map(Document::blocks) {
        let commands = block.commands();
        let commands = commands.iter().filter(|_| block.info == "sh controller");
        for form in commands.flat_map(|command| forms(command)) {
            let is_run =
                |run: &Form| run.does == form.does && run.options.is_superset(&form.options);
            assert!(run.iter().any(is_run), "{}: {form:?}", block.place());
            seen += 1;
        }
    }
    assert!(seen > 80, "only {seen} commands were looked at");
}

/// A command without the names and values that differ from model to model.
#[derive(Debug)]
struct Form {
    does: Vec<String>,
    options: BTreeSet<String>,
}

/// The commands of a line of shell, or of a line of Python that has one in quotes.
fn forms(line: &str) -> Vec<Form> {
    let line = line.trim_start().trim_start_matches("if ");
    let line = line
        .find("\"juju ")
        .map_or(line, |quote| &line[quote + 1..]);
    let mut pieces = line.split("| ").enumerate();
    let mut forms = Vec::new();
    for (_, piece) in pieces
        .by_ref()
        .filter(|(at, piece)| *at == 0 || piece.starts_with("xargs"))
    {
        let words = piece.trim_start_matches("xargs ").split_whitespace();
        let words: Vec<&str> = words
            .map(|word| word.trim_matches(['"', '\'', ')']))
            .collect();
        let does = match words[..] {
            ["juju", "run", _, action, ..] => vec!["juju", "run", action],
            // What runs on the machine, up to the first name or option.
            ["juju", "exec", "--unit", _, "--", ref inner @ ..] => {
                let is_fixed = |word: &&&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
                inner.iter().take_while(is_fixed).copied().collect()
            }
            ["juju", verb, ..] => vec!["juju", verb],
            [program, ..] => vec![program],
            [] => continue,
        };
        let option = |word: &&str| word.starts_with('-') || word.contains('=');
        let options = words.iter().filter(|word| option(word));
        let options = options.filter_map(|option| option.split('=').next());
        forms.push(Form {
            does: does.into_iter().map(str::to_owned).collect(),
            options: options.map(str::to_owned).collect(),
        });
    }
    forms
}

#[expect(clippy::disallowed_methods, reason = "no hook runs here")]
fn run_ours(arguments: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_microcluster-token-distributor"))
        .args(arguments.split(' '))
        .current_dir(in_repository(""))
        .output()
        .expect("started");
    // 3 and 4 are verdicts of `plan`.
    assert!(
        matches!(output.status.code(), Some(0 | 3 | 4)) && !output.stdout.is_empty(),
        "{arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_script_says_what_it_is_for() {
    let mut seen = 0;
    for entry in fs::read_dir(in_repository("scripts")).expect("a folder") {
        let script = entry.expect("an entry").path();
        #[expect(clippy::disallowed_methods, reason = "no hook runs here")]
        let output = Command::new(&script).arg("--help").output();
        let output = output.expect("started");
        let help = String::from_utf8(output.stdout).expect("text");
        let name = script.file_name().expect("a name").to_string_lossy();
        assert!(output.status.success(), "{name}: {help}");
        assert!(help.contains(&format!("scripts/{name}")), "{name}: {help}");
        seen += 1;
    }
    assert!(seen >= 4, "only {seen} scripts were looked at");
}

#[test]
fn the_refresh_guide_shows_what_plan_prints() {
    let guide = Document::read("docs/how-to/refresh.md");
    let blocks = guide.blocks();
    let mut commands = blocks.iter().flat_map(Block::commands);
    let plan = commands.find_map(|command| command.strip_prefix(OURS).map(str::to_owned));
    let printed = run_ours(&plan.expect("an example"));
    let shown = blocks
        .iter()
        .any(|block| block.lines.join("\n") == printed.trim_end());
    assert!(shown, "{printed}");
}

/// The rules look for lines of the charm's log; monitoring/check.mjs, for the rest.
#[test]
fn alert_rules_look_for_what_the_charm_logs() {
    let rules = read("monitoring/loki_alert_rules/token-distributor.rules");
    let sources = files(&["src"], "rs")
        .into_iter()
        .map(read)
        .collect::<String>();
    let texts = rules.split("|= \"").skip(1);
    let texts = texts.filter_map(|rest| rest.split('"').next());
    let mut ours = texts.filter(|text| !text.starts_with("ran "));
    let text = ours.next().expect("a line of ours");
    assert!(sources.contains(text), "{text}");
    assert_eq!(ours.next(), None, "look for it, too");
}

/// Whether the emulator has this command with these options.
fn is_of_the_emulator(arguments: &str) -> bool {
    let mut words = arguments.split(' ');
    let command = words.next().unwrap_or_default();
    // The library has a module of that name; the command is beside it.
    let file = if command == "chaos" {
        "campaign"
    } else {
        command
    };
    let source = in_repository(format!("tests/juju-emulator/src/{file}.rs"));
    let Ok(source) = fs::read_to_string(source) else {
        return false;
    };
    words
        .filter_map(|word| word.strip_prefix("--"))
        .map(|option| option.split('=').next().unwrap_or(option))
        .all(|option| source.contains(&format!(" {}: ", option.replace('-', "_"))))
}

/// Whether that program measures these parts, and has these options.
fn is_of_performance(arguments: &str) -> bool {
    let source = read("tests/performance/src/main.rs");
    let words = arguments.strip_prefix(" -- ").unwrap_or(arguments);
    words
        .split_whitespace()
        .filter(|word| !word.chars().all(|digit| digit.is_ascii_digit()))
        .all(|word| match word.strip_prefix("--") {
            Some(option) => source.contains(&format!(" {}: ", option.replace('-', "_"))),
            None => source.to_lowercase().contains(&format!("section::{word})")),
        })
}

#[test]
fn the_tables_of_performance_are_of_the_figures_beside_them() {
    let document = read("tests/performance/PERFORMANCE.md");
    let figures: serde_json::Value =
        serde_json::from_str(&read("tests/performance/performance.json")).expect("JSON");
    let units = |row: &[String]| row[0].replace(' ', "");
    let rows = Document::read("tests/performance/PERFORMANCE.md").table("Nothing new");
    let sizes = figures["hooks"]["sizes"].as_array().expect("sizes");
    assert_eq!(rows.len(), sizes.len());
    for (row, size) in rows.iter().zip(sizes) {
        assert_eq!(units(row), size["units"].to_string());
        assert_eq!(row[1], size["nothing_new"]["calls"].to_string());
    }
    let begun = document.matches("<!-- ").count();
    assert_eq!(begun, 2 * document.matches("<!-- end -->").count());
}

#[test]
fn the_readme_begins_with_the_demonstration_and_the_tests() {
    let readme = Document::read("README.md");
    let blocks = readme.blocks().into_iter();
    let commands: Vec<String> = blocks
        .filter(|block| block.info == "sh")
        .flat_map(|block| block.commands())
        .collect();
    assert_eq!(
        commands[..2],
        [
            "cargo run --release -p juju-emulator -- demo",
            "cargo test --workspace"
        ]
    );
}

#[test]
fn juju_commands_name_what_there_is() {
    let (options, actions) = (options(), actions());
    let mut seen = 0;
    for block in documents().iter().flat_map(Document::blocks) {
        for command in block.commands() {
            let place = format!("{}: {command}", block.place());
            let command = command.split(" | ").next().unwrap_or_default();
            let words: Vec<&str> = command.split_whitespace().collect();
            let name = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
            let is_right = match words[..] {
                ["juju", "config", _, "--reset", option] | ["juju", "config", _, option] => {
                    options.iter().any(|(known, _)| *known == name(option))
                }
                ["juju", "run", unit, action, ref parameters @ ..] => {
                    let known = &actions[action];
                    let mut parameters = parameters.iter().filter(|word| word.contains('='));
                    unit.starts_with("microcluster-token-distributor/")
                        && known.is_mapping()
                        && parameters.all(|word| known["params"].get(name(word)).is_some())
                }
                ["juju", "integrate", agent, _] if !agent.ends_with(":cluster") => {
                    agent.ends_with(":juju-info")
                }
                ["juju", "integrate", _, other] => {
                    other.ends_with("distributor:microcluster-cluster") || other.contains('.')
                }
                _ => continue,
            };
            assert!(is_right, "{place}");
            seen += 1;
        }
    }
    assert!(seen >= 8, "only {seen} commands were looked at");
}

#[test]
fn every_link_leads_somewhere() {
    let mut seen = 0;
    for document in documents() {
        for link in document.links() {
            if link.starts_with("https://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let folder = document.path.parent().unwrap_or(Path::new(""));
            let target = if path.is_empty() {
                document.path.clone()
            } else {
                folder.join(path)
            };
            assert!(
                in_repository(&target).exists(),
                "{}: {link}",
                document.path.display()
            );
            if !anchor.is_empty() {
                assert!(
                    Document::read(&target).anchors().contains(anchor),
                    "{}: no heading for {link}",
                    document.path.display()
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} links were looked at");
}

#[test]
fn the_readme_leads_to_every_document_and_contributing_to_those_of_the_tests() {
    for document in documents() {
        let path = document.path.to_string_lossy().into_owned();
        let from = match path.starts_with("tests/") {
            true => "CONTRIBUTING.md",
            false => "README.md",
        };
        let links = Document::read(from).links();
        assert!(
            path == from || links.contains(&path),
            "{from} does not link {path}"
        );
    }
}

/// The kinds of documents, after Diátaxis.
const KINDS: [&str; 4] = ["*Tutorial", "*How-to guide", "*Reference", "*Explanation"];

#[test]
fn every_page_says_which_kind_it_is() {
    for document in documents() {
        // The first page is none of them: it leads to all. Beside tests is what developers need.
        if document.path == Path::new("README.md") || document.path.starts_with("tests") {
            continue;
        }
        let kind = document.text.lines().take(5).find(|line| {
            let mut kinds = KINDS.iter();
            kinds.any(|kind| line.starts_with(kind))
        });
        assert!(kind.is_some(), "{}", document.path.display());
    }
}

#[test]
fn a_figure_is_the_same_in_every_document() {
    let figures: serde_json::Value =
        serde_json::from_str(&read("docs/figures.json")).expect("JSON");
    let figures = figures["figures"].as_object().expect("figures by name");
    let mut used = BTreeSet::new();
    for document in documents() {
        for place in document.text.split("<!--f:").skip(1) {
            let (name, rest) = place.split_once("-->").expect("a name");
            let (value, _) = rest.split_once("<!--/f-->").expect("an end");
            let figure = figures
                .get(name)
                .unwrap_or_else(|| panic!("no figure {name}"));
            let path = document.path.display();
            assert_eq!(
                figure["value"], value,
                "{path}: {name}; run scripts/figures"
            );
            used.insert(name.to_owned());
        }
    }
    let chart = read("docs/pictures/burst.svg");
    for (name, figure) in figures {
        let value = figure["value"].as_str().expect("a text");
        let is_drawn = name.starts_with("burst-")
            && name.ends_with("-seconds")
            && chart.contains(&format!(">{value}<"));
        assert!(used.contains(name) || is_drawn, "no document uses {name}");

        let command = figure["command"].as_str().expect("a command");
        let by_hand = figure["take"] == "by-hand";
        let is_known = match by_hand {
            true => RUN_HERE.iter().any(|(known, _, _)| *known == command),
            false => command
                .strip_prefix(EMULATOR)
                .is_some_and(is_of_the_emulator),
        };
        assert!(is_known, "{name}: {command}");
    }
}

#[test]
fn the_reference_lists_every_option_with_its_default() {
    let listed: Vec<(String, String)> = Document::read("docs/reference/actions.md")
        .table("Options")
        .iter()
        .map(|row| (code(&row[0]), code(&row[1])))
        .collect();
    assert_eq!(listed, options());
}

#[test]
fn the_reference_lists_every_action_with_its_parameters() {
    let reference = Document::read("docs/reference/actions.md");
    let headings = reference.prose().into_iter();
    let listed: BTreeSet<String> = headings
        .filter(|line| line.starts_with("## `"))
        .map(code)
        .collect();
    let actions = actions();
    let actions = actions.as_mapping().expect("actions by name");
    let there: BTreeSet<String> = actions
        .keys()
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(listed, there);
    for (name, action) in actions {
        let name = name.as_str().expect("a name");
        let Some(parameters) = action.get("params").and_then(Value::as_mapping) else {
            continue;
        };
        let listed: BTreeSet<String> = reference
            .table(&format!("`{name}`"))
            .iter()
            .map(|row| code(&row[0]))
            .collect();
        let there: BTreeSet<String> = parameters
            .keys()
            .map(|name| name.as_str().expect("a name").to_owned())
            .collect();
        assert_eq!(listed, there, "{name}");
    }
}

/// Every text that a status can have, with the examples that the table uses: a ledger for each.
fn statuses() -> Vec<Status> {
    let app = ("relation-1", "microovn");
    let refused = fingerprint("token");
    let twice = format!("00000000 {refused}");
    let ledgers: [&[(&str, &str)]; 18] = [
        &[],
        &[app],
        &[app, ("mirror-h0", "token")],
        &[
            app,
            ("mirror-h0", "token"),
            ("mirror-h1", "token"),
            ("mirror-h2", "member"),
        ],
        &[app, ("mirror-h0", "empty")],
        &[
            app,
            ("mirror-h0", "empty"),
            ("mirror-h1", "token"),
            ("mirror-h2", "token"),
        ],
        &[app, ("mirror-h1", "token"), ("queue", "h1")],
        &[
            app,
            ("mirror-h1", "token"),
            ("mirror-h2", "token"),
            ("queue", "h1 h2"),
        ],
        &[
            app,
            ("mirror-h0", "empty"),
            ("mirror-h1", "token"),
            ("mirror-h2", "token"),
            ("mirror-h3", "token"),
            ("mirror-h4", "member"),
            ("queue", "h1 h2"),
        ],
        &[app, ("option-bootstrap-app", "ovn")],
        &[
            ("relation-1", "ovn-east"),
            ("other-models", "ovn-east"),
            ("bootstrap-app", "ovn-east"),
        ],
        &[app, ("left-out", "mirror-h9")],
        &[app, ("host-node_1", "microovn/1")],
        &[app, ("host-h0", "microovn/0 microovn/7")],
        &[app, ("host-h0", "microovn/0 microovn/7 microovn/8")],
        &[app, ("host-h0", "microovn/0- microovn/7")],
        &[
            app,
            ("mirror-h0", "token"),
            ("host-h0", "microovn/7"),
            ("spent-h0", &twice),
        ],
        &[
            app,
            ("mirror-h0", "token"),
            ("host-h0", "microovn/7"),
            ("spent-h0", &refused),
            ("communicators", "microovn/1"),
        ],
    ];
    let bad_level: &[(&str, &str)] = &[app, ("option-log-level", "loud")];
    let mut kinds = BTreeSet::new();
    let mut statuses = vec![status::standby()];
    for pairs in ledgers.into_iter().chain([bad_level]) {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let ledger = Ledger::from(pairs.iter().map(owned).collect::<Databag>());
        kinds.extend(status::problems(&ledger).iter().map(kind_with_an_example));
        statuses.push(status::of(&ledger));
    }
    assert_eq!(kinds.len(), 7, "a problem without an example: {kinds:?}");
    statuses
}

/// A new problem does not compile here until it has an example above, and is counted there.
fn kind_with_an_example(problem: &Problem) -> &'static str {
    match problem {
        Problem::NotRelated { .. }
        | Problem::CrossModel
        | Problem::Full { .. }
        | Problem::InvalidName { .. }
        | Problem::Contested { .. }
        | Problem::SecondUnit { .. }
        | Problem::Refused { .. }
        | Problem::LogLevel { .. } => problem.kind(),
    }
}

#[test]
fn every_status_has_a_row_and_every_row_a_status() {
    let table = Document::read("docs/reference/statuses.md").table("Of the charm");
    let statuses = statuses();
    for status in &statuses {
        let listed = table.iter().any(|row| {
            codes(&row[0]).contains(&status.kind.as_str().to_owned())
                && codes(&row[1]).contains(&status.message)
        });
        assert!(listed, "no row for {status}");
    }
    for row in &table {
        assert!(!row[2].is_empty() && !row[3].is_empty(), "{row:?}");
        for message in codes(&row[1]) {
            let ours = statuses.iter().any(|status| status.message == message);
            assert!(ours, "no status says {message:?}");
        }
    }
}

#[test]
fn every_finding_has_a_row_and_every_row_a_finding() {
    let table = Document::read("docs/reference/statuses.md").table("Findings of `check`");
    let listed: BTreeSet<String> = table.iter().map(|row| code(&row[0])).collect();
    let mut there = words_in_quotes("src/report/check.rs");
    there.extend(words_in_quotes("src/core/status.rs"));
    assert_eq!(listed, there);
}

/// The literals of a source file that are one word for scripts, such as `databag-full`.
fn words_in_quotes(path: &str) -> BTreeSet<String> {
    let source = read(path);
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let literals = code.split('"').skip(1).step_by(2);
    let is_word = |text: &&str| {
        text.contains('-')
            && !text.starts_with('-')
            && text
                .bytes()
                .all(|byte| byte == b'-' || byte.is_ascii_lowercase())
    };
    literals.filter(is_word).map(str::to_owned).collect()
}

#[test]
fn every_hazard_has_a_row_of_evidence_and_every_test_exists() {
    let hazards = Document::read("docs/hazards.md");
    let mut numbers = BTreeSet::new();
    for section in [
        "While a cluster forms",
        "While hosts join",
        "When something is lost",
        "Always",
    ] {
        for row in hazards.table(section) {
            for verdict in &row[2..5] {
                let words = ["no", "passes", "shown", "yes", "as today's"];
                let is_verdict = words.iter().any(|word| verdict.starts_with(word));
                assert!(is_verdict, "hazard {}: {verdict}", row[0]);
            }
            let needs_you = row[2..5].iter().any(|verdict| verdict.starts_with("shown"));
            assert!(!needs_you || !row[5].is_empty(), "hazard {}", row[0]);
            numbers.insert(row[0].clone());
        }
    }
    let tests = names_of_functions();
    let evidence = Document::read("tests/juju-emulator/HAZARDS.md").table("Tests for each hazard");
    let listed: BTreeSet<String> = evidence.iter().map(|row| row[0].clone()).collect();
    assert_eq!(listed, numbers);
    for row in &evidence {
        let names = codes(&row[1]);
        assert!(!names.is_empty(), "hazard {}: which test?", row[0]);
        for name in names {
            assert!(tests.contains(&name), "hazard {}: no test {name}", row[0]);
        }
    }
}

/// The names of all functions of the workspace: tests are among them.
fn names_of_functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in files(&["src", "tests"], "rs") {
        let code = read(&path);
        names.extend(code.lines().filter_map(|line| {
            let name = line.trim_start().strip_prefix("fn ")?;
            Some(name.split(['(', '<']).next()?.to_owned())
        }));
    }
    names
}

#[test]
fn the_interface_names_every_key_on_the_wire() {
    let text = read("docs/integrating.md");
    for key in [
        wire::MIRROR,
        wire::UP,
        wire::DOWN,
        wire::MIRROR_PREFIX,
        wire::PLACEHOLDER,
        wire::MEMBER_VALUE,
        wire::RETIRED,
        wire::BOOTSTRAP_APP,
        wire::HOSTNAME,
        wire::NUDGE,
        wire::GUARD,
        wire::GUARD_VALUE,
        wire::PROTOCOL,
        wire::SECOND,
        wire::MAY_BOOTSTRAP,
        wire::SPENT_PREFIX,
        wire::MEMBER,
        wire::REFUSED,
    ] {
        let named = ["`", "-", "<", "="]
            .iter()
            .any(|end| text.contains(&format!("`{key}{end}")));
        assert!(named, "{key}");
    }
    assert!(text.contains(&format!("`{}`", fingerprint("foobar"))));
}

#[test]
fn the_ledger_is_listed_as_in_the_code() {
    let ledger = Document::read("docs/reference/ledger.md");
    let rows = ledger.table("The ledger");
    let mut listed: Vec<String> = rows.iter().flat_map(|row| codes(&row[0])).collect();
    for key in &mut listed {
        if let Some((before, _)) = key.split_once('<') {
            *key = format!("{before}<>");
        }
    }
    let mut code: Vec<String> = Key::forms().collect();
    listed.sort();
    code.sort();
    assert_eq!(listed, code);
}

#[test]
fn every_module_and_folder_is_on_the_map() {
    let contributing = Document::read("CONTRIBUTING.md");
    let prose = contributing.prose().join("\n");
    for path in files(&["src"], "rs") {
        let path = path.strip_prefix("src").expect("in it").to_string_lossy();
        let folder = path.split('/').next().unwrap_or_default();
        let is_there = prose.contains(&format!("`{path}`"))
            || !path.starts_with("core/") && prose.contains(&format!("`{folder}/`"))
            || ["main.rs", "lib.rs", "core/mod.rs"].contains(&path.as_ref());
        assert!(is_there, "src/{path}");
    }
    for entry in fs::read_dir(in_repository("tests")).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.path().is_dir();
        if !is_folder && !name.ends_with(".rs") {
            continue;
        }
        let name = if is_folder { format!("{name}/") } else { name };
        assert!(prose.contains(&format!("`{name}`")), "tests/{name}");
    }
}

#[test]
fn versions_and_channels_are_those_of_the_packing_and_the_workflows() {
    let versions = Document::read("docs/reference/versions.md");
    let integration = yaml(".github/workflows/integration.yaml");
    let tested = integration["jobs"]["test"]["strategy"]["matrix"]["juju"].as_sequence();
    let listed: BTreeSet<String> = versions
        .table("Juju")
        .iter()
        .map(|row| code(&row[0]))
        .collect();
    for juju in tested.expect("versions of Juju") {
        let juju = juju.as_str().expect("a channel");
        assert!(listed.contains(juju), "{juju}");
    }

    let platforms: BTreeSet<String> = versions
        .table("Bases and architectures")
        .iter()
        .flat_map(|row| {
            let base = code(&row[0]);
            let architectures = row[1].split(", ");
            let platform = |architecture| format!("{base}:{architecture}");
            architectures.map(platform).collect::<Vec<_>>()
        })
        .collect();
    let charmcraft = yaml("charmcraft.yaml");
    let packed: BTreeSet<String> = charmcraft["platforms"]
        .as_mapping()
        .expect("platforms")
        .keys()
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(platforms, packed);

    let channels: BTreeSet<String> = versions
        .table("Channels")
        .iter()
        .flat_map(|row| codes(&row[0]))
        .collect();
    let promote = yaml(".github/workflows/promote.yaml");
    let inputs = &promote["on"]["workflow_dispatch"]["inputs"];
    let choices = |input: &str| {
        let choices = inputs[input]["options"].as_sequence().expect("choices");
        let choices = choices.iter().filter_map(Value::as_str);
        choices.map(str::to_owned).collect::<Vec<_>>()
    };
    let release = read(".github/workflows/release.yaml");
    let mut there = BTreeSet::new();
    for track in choices("track") {
        // What `promote` takes to the next risk has to be in the first.
        assert!(
            release.contains(&format!("--channel {track}/edge")),
            "{track}"
        );
        there.insert(format!("{track}/edge"));
        there.extend(choices("risk").iter().map(|risk| format!("{track}/{risk}")));
    }
    assert_eq!(channels, there);
}

#[test]
fn the_terraform_module_lists_its_inputs_and_outputs() {
    let readme = Document::read("terraform/README.md");
    for (section, file, keyword) in [
        ("Inputs", "terraform/variables.tf", "variable"),
        ("Outputs", "terraform/outputs.tf", "output"),
    ] {
        let listed: Vec<String> = readme
            .table(section)
            .iter()
            .map(|row| code(&row[0]))
            .collect();
        let declared: Vec<String> = read(file)
            .lines()
            .filter_map(|line| {
                let name = line.strip_prefix(keyword)?.trim_start().strip_prefix('"')?;
                Some(name.split('"').next()?.to_owned())
            })
            .collect();
        assert_eq!(listed, declared, "{file}");
        assert!(declared.is_sorted(), "{file} is in alphabetical order");
    }
}

#[test]
fn workflows_know_every_platform_and_every_module() {
    let platforms = yaml("charmcraft.yaml")["platforms"]
        .as_mapping()
        .expect("platforms")
        .len();
    let release = read(".github/workflows/release.yaml");
    assert!(
        release.contains(&format!("-eq {platforms}\n")),
        "released together"
    );

    let integration = yaml(".github/workflows/integration.yaml");
    let tested = integration["jobs"]["test"]["strategy"]["matrix"]["module"].as_sequence();
    let tested: BTreeSet<PathBuf> = tested
        .expect("modules")
        .iter()
        .filter_map(Value::as_str)
        .map(|module| format!("tests/integration/test_{module}.py").into())
        .collect();
    let mut there = files(&["tests/integration"], "py");
    there.retain(|path| path.to_string_lossy().contains("/test_"));
    assert_eq!(tested, there.into_iter().collect());
}

#[test]
fn a_workflow_may_do_nothing_that_it_does_not_ask_for() {
    for path in files(&[".github/workflows"], "yaml") {
        assert!(
            read(&path).contains("\npermissions: {}\n"),
            "{}",
            path.display()
        );
    }
}

/// A Markdown file.
struct Document {
    /// Its path in the repository.
    path: PathBuf,
    text: String,
}

/// A fenced block.
struct Block {
    document: PathBuf,
    line: usize,
    /// What follows the fence.
    info: String,
    lines: Vec<String>,
}

impl Block {
    fn language(&self) -> &str {
        self.info.split(' ').next().unwrap_or_default()
    }

    fn place(&self) -> String {
        format!("{}:{}", self.document.display(), self.line)
    }

    /// The commands of a shell block; nothing of another.
    fn commands(&self) -> Vec<String> {
        if self.language() != "sh" {
            return Vec::new();
        }
        let joined = self.lines.join("\n").replace("\\\n", " ");
        let lines = joined
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines
            .filter(|words| words.first().is_some_and(|word| !word.starts_with('#')))
            .map(|words| words.join(" "))
            .collect()
    }
}

impl Document {
    fn read(path: impl AsRef<Path>) -> Self {
        Document {
            path: path.as_ref().to_owned(),
            text: read(path.as_ref()),
        }
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            // A block of a list is indented.
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(info), None) => {
                    open = Some(Block {
                        document: self.path.clone(),
                        line: index + 1,
                        info: info.to_owned(),
                        lines: Vec::new(),
                    });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.lines.push(line.to_owned()),
                (None, None) => {}
            }
        }
        assert!(
            open.is_none(),
            "{}: a block stays open",
            self.path.display()
        );
        blocks
    }

    /// The lines outside of blocks.
    fn prose(&self) -> Vec<&str> {
        let mut in_block = false;
        self.text
            .lines()
            .filter(|line| {
                let fence = line.trim_start().starts_with("```");
                in_block ^= fence;
                !in_block && !fence
            })
            .collect()
    }

    fn links(&self) -> Vec<String> {
        // A link's text may be broken over two lines, its target never is.
        let prose = self.prose().join("\n");
        let mut links: Vec<String> = prose
            .split("](")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
            .collect();
        for line in self.prose() {
            let definition = line
                .strip_prefix('[')
                .and_then(|rest| rest.split_once("]: "));
            links.extend(definition.map(|(_, target)| target.to_owned()));
        }
        links
    }

    /// The anchors that GitHub gives the headings.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose().into_iter().filter_map(|line| {
            let text = line.trim_start_matches('#');
            (text.len() < line.len()).then(|| text.trim().to_lowercase())
        });
        headings
            .map(|heading| {
                heading
                    .chars()
                    .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
                    .map(|c| if c == ' ' { '-' } else { c })
                    .collect()
            })
            .collect()
    }

    /// The cells of the first table under a heading, without its head.
    fn table(&self, heading: &str) -> Vec<Vec<String>> {
        let mut lines = self.prose().into_iter();
        let is_heading = |line: &str| line.trim_start_matches('#').trim() == heading;
        assert!(
            lines.any(|line| line.starts_with('#') && is_heading(line)),
            "{}: no heading {heading}",
            self.path.display()
        );
        let rows = lines
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'))
            .skip(2);
        rows.map(|row| {
            let cells = row.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
    }
}

/// All documents that people read.
fn documents() -> Vec<Document> {
    let mut paths: Vec<PathBuf> = fs::read_dir(in_repository(""))
        .expect("a folder")
        .map(|entry| PathBuf::from(entry.expect("an entry").file_name()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.extend(files(&["docs", "terraform", "tests"], "md"));
    paths.sort();
    paths.iter().map(Document::read).collect()
}

/// The files below folders of the repository whose name has this extension, as paths in it.
fn files(folders: &[&str], extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(in_repository(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The texts in backticks.
fn codes(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The text in backticks, or nothing.
fn code(cell: &str) -> String {
    codes(cell).into_iter().next().unwrap_or_default()
}

/// The options with their defaults, in order.
fn options() -> Vec<(String, String)> {
    let config = yaml("config.yaml");
    let options = config["options"].as_mapping().expect("options by name");
    options
        .iter()
        .map(|(name, option)| {
            let default = option.get("default").and_then(Value::as_str);
            (
                name.as_str().expect("a name").to_owned(),
                default.unwrap_or_default().to_owned(),
            )
        })
        .collect()
}

fn actions() -> Value {
    yaml("actions.yaml")
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&read(path)).expect("YAML")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = in_repository(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn in_repository(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
