//! `koresync man`

use clap::CommandFactory as _;

use super::{Cli, Exit, output};

pub fn execute() -> Result<Exit, anyhow::Error> {
    output::data(&render()?)?;
    Ok(Exit::Done)
}

/// The page of the program, then one for each subcommand, so that `man -l` shows them in one go.
pub(super) fn render() -> Result<String, anyhow::Error> {
    let mut pages = Vec::new();
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    render_into(program, &mut pages)?;
    Ok(String::from_utf8(pages)?)
}

fn render_into(command: clap::Command, pages: &mut Vec<u8>) -> Result<(), std::io::Error> {
    let below: Vec<_> = command.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    clap_mangen::Man::new(command).render(pages)?;
    below.into_iter().try_for_each(|subcommand| render_into(subcommand, pages))
}
