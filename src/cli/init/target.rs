//! Where `llm-proxy init` writes: the embedded store, a configuration file or a database.

use std::path::{Path, PathBuf};

use super::files;
use crate::cli::failure::Failure;
use crate::cli::{check_config, print, store, terminal};
use crate::config::boot::{Boot, Environment};
use crate::config::file;
use crate::config::rows::{CredentialRow, ProviderRow, Rows};
use crate::config::vault;
use crate::control_plane::store as stores;
use crate::control_plane::store::blocking::Blocking;
use crate::control_plane::store::file_text;

/// Where the configuration goes.
#[derive(Debug)]
pub(super) enum Target {
    Embedded,
    File(PathBuf),
    Database(String),
}

impl Target {
    /// Reads `--store`, or prompts for it with the store of this environment as the default.
    pub(super) fn choose(flag: Option<&str>, environment: &Environment) -> Result<Target, Failure> {
        if let Some(text) = flag {
            return Target::parse(text);
        }
        let (file, database) = (environment.get("CONFIG_FILE"), environment.get("DB_URL"));
        let default = match (file, database) {
            (Some(path), _) => path,
            (None, Some(_)) => "DB_URL",
            (None, None) => "embedded",
        };
        let question = "Store: embedded, a .yaml file or a postgresql:// address";
        terminal::prompt_until(question, Some(default), "--store", |answer| match (file, database) {
            (Some(path), _) if answer == path => Ok(Target::File(path.into())),
            (None, Some(url)) if answer == default => Ok(Target::Database(url.to_owned())),
            _ => Target::parse(answer),
        })
    }

    fn parse(text: &str) -> Result<Target, Failure> {
        let text = text.trim();
        let is_file = [".yaml", ".yml"].iter().any(|end| text.ends_with(end));
        match text {
            "embedded" => Ok(Target::Embedded),
            "file" => Ok(Target::File("gateway.yaml".into())),
            _ if text.starts_with("postgres://") || text.starts_with("postgresql://") => {
                Ok(Target::Database(text.to_owned()))
            }
            _ if is_file => Ok(Target::File(text.into())),
            _ => Err(Failure::Usage(vec![format!(
                "`{text}` is no store; give embedded, a file that ends in .yaml, or postgresql://USER@HOST/DATABASE"
            )])),
        }
    }

    /// Returns the settings of a gateway on this store.
    pub(super) fn boot(&self, environment: &Environment) -> Result<Boot, Failure> {
        let mut few = Environment::default();
        few.take(environment, &["DATA_DIR"]);
        few.take(environment, store::LISTENER);
        let mut settings = Vec::new();
        match self {
            Target::Embedded => {}
            Target::File(path) => {
                // What is wrong with the file is reported when its rows are read.
                let env = |name: &str| environment.get(name).map(str::to_owned);
                settings = file_text::read(path).map(|text| file::read_all(&text, &env).0.settings).unwrap_or_default();
                few.process.insert("CONFIG_FILE".to_owned(), path.display().to_string().into());
            }
            Target::Database(url) => {
                few.process.insert("DB_URL".to_owned(), url.as_str().into());
            }
        }
        Ok(Boot::with(&[], &few, &settings)?.0)
    }

    /// Returns the rows that are there already. Nothing is made.
    ///
    /// # Errors
    /// Also if the environment names another store: `serve` would take that one.
    pub(super) fn rows(&self, environment: &Environment) -> Result<Rows, Failure> {
        match self {
            Target::File(path) => files::refuse_another("CONFIG_FILE", environment, |known| is_same(known, path))?,
            Target::Database(url) => {
                files::refuse_another("CONFIG_FILE", environment, |_| false)?;
                files::refuse_another("DB_URL", environment, |known| known == url)?;
            }
            Target::Embedded => {
                files::refuse_another("CONFIG_FILE", environment, |_| false)?;
                files::refuse_another("DB_URL", environment, |_| false)?;
            }
        }
        match self {
            Target::File(path) if !path.exists() => Ok(Rows::default()),
            Target::File(path) => Ok(check_config::read(path, environment)?.rows()),
            Target::Embedded => {
                let boot = self.boot(environment)?;
                if store::is_missing(&boot) {
                    return Ok(Rows::default());
                }
                Ok(Blocking::embedded(&boot.data_dir)?.load()?)
            }
            Target::Database(_) => Ok(self.database(environment)?.load()?),
        }
    }

    fn database(&self, environment: &Environment) -> Result<Blocking, Failure> {
        Ok(Blocking::new(stores::open(&self.boot(environment)?, environment)?)?)
    }

    /// Returns what an error calls it.
    pub(super) fn place(&self, environment: &Environment) -> Result<String, Failure> {
        let boot = self.boot(environment)?;
        Ok(match (self, &boot.db_url) {
            (Target::File(path), _) => path.display().to_string(),
            (Target::Database(_), Some(url)) => format!("PostgreSQL {}", url.place()),
            _ => boot.data_dir.join(stores::sqlite::FILE).display().to_string(),
        })
    }

    /// Writes the provider and the key, and then the settings that lead `serve` here, into `.env`.
    pub(super) fn write(
        &self,
        row: ProviderRow,
        credential: Option<CredentialRow>,
        mut settings: Vec<(String, String)>,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let store = match self {
            Target::File(path) => return files::write(path, row, credential, settings, environment),
            Target::Embedded => {
                // A directory that only this shell names would not be found by the next one.
                if let Some(dir) = environment.process.get("DATA_DIR").filter(|dir| !dir.trim().is_empty()) {
                    settings.push(("DATA_DIR".to_owned(), dir.to_string()));
                }
                Blocking::lazy(&self.boot(environment)?.data_dir)?
            }
            Target::Database(url) => {
                settings.insert(0, ("DB_URL".to_owned(), url.clone()));
                self.database(environment)?
            }
        };
        let api_key = vault::seal(&row.api_key, &|name| environment.get(name).map(str::to_owned));
        store.add_provider(&ProviderRow { api_key: api_key.map_err(Failure::failed)?.into(), ..row })?;
        if let Some(credential) = credential {
            store.create_credential(&credential)?;
        }
        print::note("note", &format!("written to the store: {}", store.place()));
        // It is written last, so that it names no database that refuses to be written. The rows are
        // there by now, and so a failure is not one of the command.
        let names: Vec<_> = settings.iter().map(|(name, _)| name.as_str()).collect();
        match files::add_to_dotenv(&settings) {
            Ok(false) => {}
            Ok(true) => {
                let names = names.join(", ");
                print::note("note", &format!("written to .env, which `llm-proxy serve` reads here: {names}"));
            }
            Err(Failure::Failed(why)) => {
                print::note("warning", &format!("{why}; set {} yourself", names.join(", ")));
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }
}

/// Returns whether two paths lead to one file.
fn is_same(known: &str, path: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    matches!((real(Path::new(known.trim())), real(path)), (Ok(one), Ok(other)) if one == other)
}
