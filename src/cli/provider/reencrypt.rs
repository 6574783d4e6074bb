//! `llm-proxy provider reencrypt`.

use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{StoreArgs, StoreLocation, call, number};
use crate::config::vault;
use crate::control_plane::admin::view::{self, ProviderView};
use crate::control_plane::store::Change;

pub(super) fn run(store: &StoreArgs) -> Result<(), Failure> {
    let count = match store.open()? {
        StoreLocation::Remote(remote) => {
            let done: serde_json::Value = call(&remote, "POST", "/config/reencrypt", None)?;
            number(&done, "/reencrypted")
        }
        StoreLocation::Local(store, environment) => {
            let env = |name: &str| environment.get(name).map(str::to_owned);
            if env("SECRET_KEY").is_none() {
                return Err(Failure::failed("SECRET_KEY is not set, so there is nothing to encrypt with"));
            }
            let mut count = 0;
            for mut row in store.load()?.providers.into_iter().filter(|row| vault::is_due(&row.api_key, &env)) {
                let column = format!("api_key of provider {}", row.provider_key);
                let sealed = vault::open(&column, &row.api_key, &env).and_then(|plain| vault::seal(&plain, &env));
                row.api_key = sealed.map_err(Failure::failed)?.into();
                let name = row.provider_key.clone();
                let before_and_after = view::audit_text(&ProviderView::of(&row));
                store.change(
                    "provider.reencrypt",
                    &name,
                    [before_and_after.clone(), before_and_after],
                    Change::UpdateProvider(row),
                )?;
                count += 1;
            }
            count
        }
    };
    print::line(&format!("re-encrypted {count} keys of providers"))
}
