//! What hook tools and the agent say to each other over the socket: messages of length-prefixed
//! parts. A tool is first called without standard input; an agent that needs it says so, and the
//! tool calls again on the same connection.

use std::io::{self, Read, Write};

/// A tool call as it travels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The caller's `JUJU_CONTEXT_ID`.
    pub context: String,
    /// The caller's working directory.
    pub directory: String,
    /// The tool's name.
    pub tool: String,
    /// Standard input, if it was asked for.
    pub stdin: Option<Vec<u8>>,
    /// The arguments.
    pub arguments: Vec<String>,
}

/// The agent's answer as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// The tool is done.
    Done {
        /// Its exit status.
        code: i32,
        /// Its standard output.
        stdout: Vec<u8>,
        /// Its standard error.
        stderr: Vec<u8>,
    },
    /// Send standard input.
    WantsStdin,
}

fn write_parts(stream: &mut impl Write, parts: &[&[u8]]) -> io::Result<()> {
    let mut message = Vec::new();
    message.extend(length(parts.len())?);
    for part in parts {
        message.extend(length(part.len())?);
        message.extend_from_slice(part);
    }
    stream.write_all(&message)
}

fn length(length: usize) -> io::Result<[u8; 4]> {
    u32::try_from(length)
        .map(u32::to_be_bytes)
        .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
}

fn read_length(stream: &mut impl Read) -> io::Result<usize> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes) as usize)
}

fn read_parts(stream: &mut impl Read) -> io::Result<Vec<Vec<u8>>> {
    (0..read_length(stream)?)
        .map(|_| {
            let expected = read_length(stream)?;
            let mut part = Vec::new();
            let read = stream
                .by_ref()
                .take(expected as u64)
                .read_to_end(&mut part)?;
            if read < expected {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(part)
        })
        .collect()
}

fn text(part: &[u8]) -> String {
    String::from_utf8_lossy(part).into_owned()
}

fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl Request {
    /// Sends it.
    pub fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        let stdin = self.stdin.as_deref();
        let mut parts: Vec<&[u8]> = vec![
            self.context.as_bytes(),
            self.directory.as_bytes(),
            self.tool.as_bytes(),
            if stdin.is_some() { b"stdin" } else { b"" },
            stdin.unwrap_or_default(),
        ];
        parts.extend(self.arguments.iter().map(String::as_bytes));
        write_parts(stream, &parts)
    }

    /// Receives one.
    pub fn read(stream: &mut impl Read) -> io::Result<Self> {
        let parts = read_parts(stream)?;
        let [context, directory, tool, has_stdin, stdin, arguments @ ..] = parts.as_slice() else {
            return Err(malformed());
        };
        Ok(Self {
            context: text(context),
            directory: text(directory),
            tool: text(tool),
            stdin: (!has_stdin.is_empty()).then(|| stdin.clone()),
            arguments: arguments.iter().map(|part| text(part)).collect(),
        })
    }
}

impl Response {
    /// Sends it.
    pub fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        match self {
            Self::WantsStdin => write_parts(stream, &[]),
            Self::Done {
                code,
                stdout,
                stderr,
            } => write_parts(stream, &[&code.to_be_bytes(), stdout, stderr]),
        }
    }

    /// Receives one.
    pub fn read(stream: &mut impl Read) -> io::Result<Self> {
        let parts = read_parts(stream)?;
        match parts.as_slice() {
            [] => Ok(Self::WantsStdin),
            [code, stdout, stderr] => {
                let code = code.as_slice().try_into().map_err(|_| malformed())?;
                Ok(Self::Done {
                    code: i32::from_be_bytes(code),
                    stdout: stdout.clone(),
                    stderr: stderr.clone(),
                })
            }
            _ => Err(malformed()),
        }
    }
}
