//! `koresync schema`: the data dictionary and the picture of the tables, from the database's own catalog.

mod dbml;
mod dbt;
mod markdown;
mod mermaid;

use clap::{Args, ValueEnum};

use super::{Context, Exit, output, session};
use crate::warehouse::catalog::Relation;

/// Print what the analysts' schema is made of: tables, views, columns, keys and what they mean.
///
/// It comes from the catalog of the configured warehouse, comments and all. With --json it is one document of all that the
/// formats are made from.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// markdown: a data dictionary; mermaid, dbml: a picture of tables and keys; dbt: sources with their descriptions
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    #[default]
    Markdown,
    Mermaid,
    Dbml,
    Dbt,
}

pub async fn execute(args: SchemaArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let settings = context.settings()?;
    let warehouse = session::open(&settings, &context.clock).await?;
    let relations = warehouse.catalog().await;
    warehouse.close().await;
    let relations = relations?;
    if context.global.json {
        output::json(&relations)?;
    } else {
        output::data(&render(args.format, &relations))?;
    }
    Ok(Exit::Done)
}

fn render(format: Format, relations: &[Relation]) -> String {
    match format {
        Format::Markdown => markdown::render(relations),
        Format::Mermaid => mermaid::render(relations),
        Format::Dbml => dbml::render(relations),
        Format::Dbt => dbt::render(relations),
    }
}

#[cfg(test)]
mod tests;
