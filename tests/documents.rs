//! The documents against what they speak of: commands, links, options, actions, statuses, tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use microcluster_token_distributor::databag;
use microcluster_token_distributor::status::{Overview, Problem, Status, standby};
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

/// Measurements, too long for every change. That there is such a command is checked, not its answer.
const MEASUREMENTS: [&str; 5] = [
    "cargo bench ",
    "cargo fuzz ",
    "cargo +nightly fuzz ",
    "cargo mutants ",
    "cargo test ",
];

/// The emulator's commands, of which the above is true as well.
const EMULATOR: &str = "cargo run --release -p juju-emulator -- ";

/// What makes the figures of docs/performance.md; a test of that package runs all of it on small
/// sizes.
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
            let needs_controller = block.info == "sh controller";
            assert!(
                needs_controller || block.info == "sh",
                "{}: {:?}",
                block.place(),
                block.info
            );
            for command in block.commands() {
                if needs_controller {
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

#[expect(clippy::disallowed_methods, reason = "no hook runs here")]
fn run_ours(arguments: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_microcluster-token-distributor"))
        .args(arguments.split(' '))
        .current_dir(in_repository(""))
        .output()
        .expect("started");
    assert!(
        output.status.success() && !output.stdout.is_empty(),
        "{arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
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
    let document = read("docs/performance.md");
    let figures: serde_json::Value =
        serde_json::from_str(&read("docs/performance.json")).expect("JSON");
    let units = |row: &[String]| row[0].replace(' ', "");
    let rows = Document::read("docs/performance.md").table("Nothing new");
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
    let commands: Vec<String> = readme.blocks().iter().flat_map(Block::commands).collect();
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
    for document in documents() {
        for block in document.blocks() {
            for command in block.commands() {
                let words: Vec<&str> = command.split_whitespace().collect();
                match words[..] {
                    [
                        "juju",
                        "config",
                        "microcluster-token-distributor",
                        option,
                        ..,
                    ] => {
                        let option = option.split('=').next().unwrap_or(option);
                        assert!(
                            options.iter().any(|(known, _)| known == option),
                            "{}: {command}",
                            block.place()
                        );
                        seen += 1;
                    }
                    ["juju", "run", unit, action, ref parameters @ ..] => {
                        assert!(
                            unit.starts_with("microcluster-token-distributor/"),
                            "{unit}"
                        );
                        let action = &actions[action];
                        for parameter in parameters {
                            let name = parameter.split('=').next().unwrap_or(parameter);
                            assert!(
                                action["params"].get(name).is_some(),
                                "{}: {command}",
                                block.place()
                            );
                        }
                        seen += 1;
                    }
                    ["juju", "integrate", one, other] => {
                        assert!(
                            !one.contains("distributor") && one.ends_with(":cluster"),
                            "{command}"
                        );
                        assert!(
                            other.ends_with("distributor:microcluster-cluster")
                                || other.contains('.'),
                            "{command}"
                        );
                        seen += 1;
                    }
                    _ => {}
                }
            }
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
fn the_readme_leads_to_every_document() {
    let links = Document::read("README.md").links();
    for document in documents() {
        let path = document.path.to_string_lossy().into_owned();
        assert!(
            path == "README.md" || links.contains(&path),
            "README.md does not link {path}"
        );
    }
}

#[test]
fn the_readme_lists_every_option_with_its_default() {
    let readme = Document::read("README.md");
    let listed: Vec<(String, String)> = readme
        .table("Configuration")
        .iter()
        .map(|row| (code(&row[0]), code(&row[1])))
        .collect();
    assert_eq!(listed, options());
}

#[test]
fn the_readme_lists_every_action() {
    let readme = Document::read("README.md");
    let listed: BTreeSet<String> = readme
        .table("Actions")
        .iter()
        .map(|row| code(&row[0]))
        .collect();
    let actions = actions();
    let actions = actions.as_mapping().expect("actions by name");
    let there: BTreeSet<String> = actions
        .keys()
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(listed, there);
}

/// Every text that a status can have, with the examples that the table uses.
fn statuses() -> Vec<Status> {
    let problems = [
        Problem::NotRelated {
            app: "ovn".to_owned(),
        },
        Problem::CrossModel,
        Problem::Full { left_out: 2 },
        Problem::refused("node_1", &["microovn/1"]),
        Problem::contested("h0", &["microovn/0", "microovn/7"]),
        Problem::LogLevel {
            value: "loud".to_owned(),
        },
    ];
    for problem in &problems {
        // A new problem does not compile here until it has an example above.
        match problem {
            Problem::NotRelated { .. }
            | Problem::CrossModel
            | Problem::Full { .. }
            | Problem::Refused { .. }
            | Problem::Contested { .. }
            | Problem::LogLevel { .. } => {}
        }
    }
    let healthy = |related, hosts, waiting| Overview {
        related,
        hosts,
        waiting,
        problems: Vec::new(),
    };
    let overviews = [
        healthy(false, 0, 0),
        healthy(true, 0, 0),
        healthy(true, 1, 0),
        healthy(true, 3, 0),
        healthy(true, 3, 1),
    ];
    let blocked = problems.map(|problem| Overview {
        related: true,
        problems: vec![problem],
        ..Overview::default()
    });
    overviews
        .iter()
        .chain(&blocked)
        .map(Overview::status)
        .chain([standby()])
        .collect()
}

#[test]
fn every_status_has_a_row_in_troubleshooting_and_every_row_a_status() {
    let table = Document::read("docs/operations.md").table("Troubleshooting by status");
    let statuses = statuses();
    for status in &statuses {
        let listed = table.iter().any(|row| {
            codes(&row[0]).contains(&status.kind.as_str().to_owned())
                && codes(&row[1]).contains(&status.message)
        });
        assert!(
            listed,
            "no row for {} {:?}",
            status.kind.as_str(),
            status.message
        );
    }
    for row in &table {
        assert!(!row[2].is_empty() && !row[3].is_empty(), "{row:?}");
        let from_juju = row[2].starts_with("From Juju: ");
        for message in codes(&row[1]) {
            let ours = statuses.iter().any(|status| status.message == message);
            assert!(ours || from_juju, "no status says {message:?}");
        }
    }
}

#[test]
fn every_hazard_is_answered_by_a_test_a_status_or_a_reason() {
    let hazards = Document::read("docs/hazards.md").table("Hazards");
    let numbers: Vec<&str> = hazards.iter().map(|row| row[0].as_str()).collect();
    let expected: Vec<String> = (1..=21).map(|number: u8| number.to_string()).collect();
    assert_eq!(numbers, expected);

    let (tests, statuses) = (names_of_functions(), statuses());
    for row in &hazards {
        let (verdict, answer) = (&row[2], &row[3]);
        let mut tests_named = 0;
        for name in codes(answer).iter().filter(|name| is_test_name(name)) {
            assert!(tests.contains(name), "hazard {}: no test {name}", row[0]);
            tests_named += 1;
        }
        let shown = codes(answer)
            .iter()
            .any(|text| statuses.iter().any(|status| is_status(status, text)));
        if verdict.starts_with("Prevented") {
            assert!(tests_named > 0, "hazard {}: which test?", row[0]);
        } else if verdict.starts_with("Shown") {
            assert!(shown, "hazard {}: which status?", row[0]);
        } else {
            assert!(verdict.starts_with("Out of reach"), "hazard {}", row[0]);
            assert!(!answer.is_empty(), "hazard {}: why?", row[0]);
        }
    }
}

/// Whether `text` is what the status says, whatever the number of hosts.
fn is_status(status: &Status, text: &str) -> bool {
    let words = |text: &str| {
        let numbers = |character: char| !character.is_ascii_digit();
        text.chars().filter(|c| numbers(*c)).collect::<String>()
    };
    words(&status.message) == words(text)
}

fn is_test_name(name: &str) -> bool {
    name.matches('_').count() >= 3
        && name
            .bytes()
            .all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The names of all functions of the workspace: tests are among them.
fn names_of_functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![in_repository("src"), in_repository("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = fs::read_to_string(&path).expect("a source file");
                names.extend(code.lines().filter_map(|line| {
                    let name = line.trim_start().strip_prefix("fn ")?;
                    Some(name.split(['(', '<']).next()?.to_owned())
                }));
            }
        }
    }
    names
}

#[test]
fn the_protocol_names_every_key_on_the_wire() {
    let text = read("docs/integrating.md");
    for key in [
        databag::MIRROR,
        databag::MIRROR_PREFIX,
        databag::BOOTSTRAP_APP,
        databag::HOSTNAME,
        databag::HOSTS,
        databag::NUDGE,
        databag::GUARD,
        databag::UP,
        databag::DOWN,
        databag::PLACEHOLDER,
        databag::RETIRED,
        databag::GUARD_VALUE,
    ] {
        assert!(text.contains(&format!("`{key}`")), "{key}");
    }
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
fn actions_of_workflows_are_pinned() {
    let mut seen = 0;
    for entry in fs::read_dir(in_repository(".github/workflows")).expect("workflows") {
        let path = entry.expect("an entry").path();
        let workflow = fs::read_to_string(&path).expect("a workflow");
        assert!(
            workflow.contains("\npermissions: {}\n"),
            "{}",
            path.display()
        );
        for line in workflow.lines() {
            let Some((_, action)) = line.split_once("uses: ") else {
                continue;
            };
            if action.starts_with("./") {
                continue;
            }
            let (_, pin) = action.split_once('@').expect("a version");
            let (hash, version) = pin.split_once(" # v").expect("a hash and its version");
            assert!(
                hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{line}"
            );
            assert!(!version.is_empty(), "{line}");
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} actions were looked at");
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
    let tested: BTreeSet<String> = tested
        .expect("modules")
        .iter()
        .map(|module| format!("test_{}.py", module.as_str().expect("a name")))
        .collect();
    let there: BTreeSet<String> = fs::read_dir(in_repository("tests/integration"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with("test_"))
        .collect();
    assert_eq!(tested, there);
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
    /// What stands behind the fence.
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
            match (line.strip_prefix("```"), &mut open) {
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
                let fence = line.starts_with("```");
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
    let mut paths: Vec<PathBuf> = ["", "docs", "terraform"]
        .iter()
        .flat_map(|folder| fs::read_dir(in_repository(folder)).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.sort();
    let root = in_repository("");
    paths
        .iter()
        .map(|path| Document::read(path.strip_prefix(&root).expect("in the repository")))
        .collect()
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
