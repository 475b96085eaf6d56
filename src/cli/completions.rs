//! `koresync completions SHELL`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Exit, output};

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell to write for
    pub shell: Shell,
}

pub fn execute(args: &CompletionsArgs) -> Result<Exit, anyhow::Error> {
    output::data(&render(args.shell))?;
    Ok(Exit::Done)
}

pub(super) fn render(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "koresync", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
