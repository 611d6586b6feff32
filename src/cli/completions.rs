//! Completion scripts, made of the command line itself. The library that does this is larger than
//! all of the command line.
//!
//! Each script says the same: first a subcommand; after it, the options of that subcommand and its
//! values; after an option with a value, that value alone; files where the subcommand takes them.

use clap::{Arg, Command, ValueHint};

use super::Shell;

/// The script for one shell.
pub(super) fn completions(command: &Command, shell: Shell) -> String {
    let name = command.get_name();
    let subcommands: Vec<Subcommand> = command.get_subcommands().map(Subcommand::of).collect();
    match shell {
        Shell::Bash => bash(name, &subcommands),
        Shell::Zsh => zsh(name, &subcommands),
        Shell::Fish => fish(name, &subcommands),
    }
}

/// What can follow a subcommand.
struct Subcommand {
    name: String,
    about: String,
    options: Vec<Flag>,
    /// What can be an argument by its position.
    words: Vec<String>,
    takes_files: bool,
}

struct Flag {
    /// With its dashes.
    name: String,
    help: String,
    value: Value,
}

enum Value {
    None,
    /// Anything.
    Free,
    OneOf(Vec<String>),
}

impl Subcommand {
    fn of(command: &Command) -> Self {
        let (options, positional): (Vec<&Arg>, Vec<_>) = command
            .get_arguments()
            .partition(|argument| argument.get_long().is_some());
        let mut options: Vec<Flag> = options.into_iter().map(Flag::of).collect();
        options.push(Flag {
            name: "--help".to_owned(),
            help: "Print help".to_owned(),
            value: Value::None,
        });
        Subcommand {
            name: command.get_name().to_owned(),
            about: command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default(),
            options,
            words: positional
                .iter()
                .flat_map(|argument| values(argument))
                .collect(),
            takes_files: positional
                .iter()
                .any(|argument| argument.get_value_hint() == ValueHint::AnyPath),
        }
    }

    fn words(&self) -> String {
        let options = self.options.iter().map(|option| option.name.as_str());
        let words = self.words.iter().map(String::as_str);
        words.chain(options).collect::<Vec<_>>().join(" ")
    }
}

impl Flag {
    fn of(argument: &Arg) -> Self {
        let name = argument.get_long().unwrap_or_default();
        let values = values(argument);
        Flag {
            name: format!("--{name}"),
            help: argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default(),
            value: match (argument.get_action().takes_values(), values.is_empty()) {
                (false, _) => Value::None,
                (true, true) => Value::Free,
                (true, false) => Value::OneOf(values),
            },
        }
    }
}

fn values(argument: &Arg) -> Vec<String> {
    let values = argument.get_possible_values();
    values
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect()
}

fn bash(name: &str, subcommands: &[Subcommand]) -> String {
    let function = name.replace('-', "_");
    let names: Vec<&str> = subcommands.iter().map(|one| one.name.as_str()).collect();
    let names = names.join(" ");
    // Bash takes `--format=json` for three words.
    let mut script = format!(
        "_{function}() {{
    local word=\"${{COMP_WORDS[COMP_CWORD]}}\" before=\"${{COMP_WORDS[COMP_CWORD - 1]}}\" words='' found
    if [ \"$word\" = = ]; then
        word=''
    elif [ \"$before\" = = ]; then
        before=\"${{COMP_WORDS[COMP_CWORD - 2]}}\"
    fi
    COMPREPLY=()
    if [ \"$COMP_CWORD\" -eq 1 ]; then
        words='{names} --help --version'
    else
        case \"${{COMP_WORDS[1]}} $before\" in
"
    );
    for subcommand in subcommands {
        for option in &subcommand.options {
            let words = match &option.value {
                Value::None => continue,
                Value::Free => "return".to_owned(),
                Value::OneOf(values) => format!("words='{}'", values.join(" ")),
            };
            let case = format!("'{} {}'", subcommand.name, option.name);
            script.push_str(&format!("            {case}) {words} ;;\n"));
        }
    }
    for subcommand in subcommands {
        let files = match subcommand.takes_files {
            // A word that begins with a dash is no file that anybody means.
            true => "; [[ \"$word\" == -* ]] || mapfile -t COMPREPLY < <(compgen -f -- \"$word\")",
            false => "",
        };
        script.push_str(&format!(
            "            '{} '*) words='{}'{files} ;;\n",
            subcommand.name,
            subcommand.words()
        ));
    }
    script.push_str(&format!(
        "        esac
    fi
    mapfile -t found < <(compgen -W \"$words\" -- \"$word\")
    COMPREPLY+=(\"${{found[@]}}\")
}}
complete -o filenames -F _{function} {name}
"
    ));
    script
}

fn zsh(name: &str, subcommands: &[Subcommand]) -> String {
    let function = name.replace('-', "_");
    let mut script = format!(
        "#compdef {name}
_{function}() {{
    if (( CURRENT == 2 )); then
        local -a subcommands=(
"
    );
    for subcommand in subcommands {
        let described = quoted(&format!("{}:{}", subcommand.name, subcommand.about));
        script.push_str(&format!("            {described}\n"));
    }
    script.push_str(
        "        )
        _describe subcommand subcommands
        compadd -- --help --version
        return
    fi
    local before=\"$words[CURRENT-1]\"
    if [[ \"$PREFIX\" == --*=* ]]; then
        before=\"${PREFIX%%=*}\"
        compset -P '*='
    fi
    case \"$words[2] $before\" in
",
    );
    for subcommand in subcommands {
        for option in &subcommand.options {
            let action = match &option.value {
                Value::None => continue,
                Value::Free => "return".to_owned(),
                Value::OneOf(values) => format!("compadd -- {}", values.join(" ")),
            };
            let case = format!("'{} {}'", subcommand.name, option.name);
            script.push_str(&format!("        {case}) {action} ;;\n"));
        }
    }
    for subcommand in subcommands {
        let files = if subcommand.takes_files {
            "; _files"
        } else {
            ""
        };
        script.push_str(&format!(
            "        '{} '*) compadd -- {}{files} ;;\n",
            subcommand.name,
            subcommand.words()
        ));
    }
    script.push_str(&format!("    esac\n}}\ncompdef _{function} {name}\n"));
    script
}

fn fish(name: &str, subcommands: &[Subcommand]) -> String {
    let complete = format!("complete -c {name}");
    let mut script = format!("{complete} -f\n");
    script.push_str(&format!(
        "{complete} -n __fish_use_subcommand -l help -l version\n"
    ));
    for subcommand in subcommands {
        script.push_str(&format!(
            "{complete} -n __fish_use_subcommand -a {} -d {}\n",
            subcommand.name,
            quoted(&subcommand.about)
        ));
    }
    for subcommand in subcommands {
        let condition = format!("-n '__fish_seen_subcommand_from {}'", subcommand.name);
        let complete = format!("{complete} {condition}");
        if subcommand.takes_files {
            script.push_str(&format!("{complete} -F\n"));
        }
        if !subcommand.words.is_empty() {
            script.push_str(&format!("{complete} -a '{}'\n", subcommand.words.join(" ")));
        }
        for option in &subcommand.options {
            let values = match &option.value {
                Value::None => String::new(),
                Value::Free => " -x".to_owned(),
                Value::OneOf(values) => format!(" -x -a '{}'", values.join(" ")),
            };
            let long = option.name.trim_start_matches('-');
            let help = quoted(&option.help);
            script.push_str(&format!("{complete} -l {long}{values} -d {help}\n"));
        }
    }
    script
}

/// A word to all three shells; our own texts have no backslash.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
