//! The arguments of `llm-proxy budget`.

use clap::Subcommand;

use crate::cli::store::{self, NewName, StoreArgs};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) store: StoreArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a budget of a key, a group, a tag or a provider
    #[command(alias = "add")]
    Create(Create),
    /// Change a budget: what is not named stays as it is
    #[command(alias = "update")]
    Set(Set),
    /// Enforce a disabled budget again
    Enable(Named),
    /// Enforce a budget no more without removing it
    Disable(Named),
    /// List the budgets, and what they have come to
    #[command(alias = "ls")]
    List(List),
    /// Restart the current window of a budget
    Reset(Named),
    /// Add to the amount of a budget, for the current window alone
    TopUp(TopUp),
    /// Remove budgets with their sums
    #[command(aliases = ["delete", "rm"])]
    Remove(Several),
}

/// The budget that a command names.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// Name or id of the budget
    #[arg(value_name = "NAME|ID")]
    pub(super) budget: String,
}

/// The budgets that a command names.
#[derive(Debug, clap::Args)]
pub(super) struct Several {
    /// Names or ids of the budgets
    #[arg(value_name = "NAME|ID", required = true)]
    pub(super) budgets: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    #[command(flatten)]
    pub(super) name: NewName,
    #[command(flatten)]
    pub(super) subject: Subject,
    /// Dollars, or whole tokens with `--unit tokens`
    #[arg(long, value_name = "AMOUNT")]
    pub(super) amount: String,
    #[command(flatten)]
    pub(super) terms: Terms,
}

/// The object whose spending a budget limits.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Subject {
    /// Budget of the key of this name
    #[arg(long, value_name = "NAME", value_parser = store::name)]
    pub(super) key: Option<String>,
    /// Budget of all keys of this group
    #[arg(long, value_name = "NAME", value_parser = store::name)]
    pub(super) group: Option<String>,
    /// Budget of requests with this tag
    #[arg(long, value_name = "TAG", value_parser = store::name)]
    pub(super) tag: Option<String>,
    /// Budget of what is spent at this provider
    #[arg(long, value_name = "NAME", value_parser = store::name)]
    pub(super) provider: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Terms {
    /// usd or tokens [default: usd]
    #[arg(long, value_name = "UNIT", value_parser = ["usd", "tokens"])]
    pub(super) unit: Option<String>,
    /// How long the amount is for [default: month]
    #[arg(long, value_name = "PERIOD", value_parser = ["hour", "day", "week", "month", "total"])]
    pub(super) period: Option<String>,
    /// Time zone of the calendar, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    pub(super) time_zone: Option<String>,
    /// Per cent of the amount at which a warning is logged; may be repeated
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(super) warn_at: Vec<u8>,
    /// Whether requests are refused for which too little is left [default: true]
    #[arg(long, value_name = "BOOL")]
    pub(super) hard: Option<bool>,
    /// Model (which may be virtual) that serves requests for which too little of the budget is
    /// left; `none` refuses them [default: none]
    #[arg(long, value_name = "MODEL")]
    pub(super) downgrade_to: Option<String>,
}

impl Terms {
    /// Returns the model that is named, or what `none` means.
    pub(super) fn downgrade(&self) -> Option<Option<String>> {
        self.downgrade_to.clone().map(|model| Some(model).filter(|model| model != "none"))
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Set {
    #[command(flatten)]
    pub(super) named: Named,
    /// Dollars, or whole tokens
    #[arg(long, value_name = "AMOUNT")]
    pub(super) amount: Option<String>,
    #[command(flatten)]
    pub(super) terms: Terms,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Print JSON instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct TopUp {
    #[command(flatten)]
    pub(super) named: Named,
    /// Dollars, or whole tokens
    #[arg(value_name = "AMOUNT")]
    pub(super) amount: String,
}
