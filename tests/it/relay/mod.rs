//! What goes through, goes through unchanged; what is the gateway's to change, is right.

mod at_once;
mod bytes;
mod fair;
mod framing;
mod heads;
mod known;
mod model;
mod preamble;
mod size;

use llm_proxy::config::rows::ProviderRow;

use super::support::sample::Sample;
use super::support::*;

/// A gateway that holds no answer until it is whole, so that its pieces are seen as they come.
fn unheld() -> Setup {
    Setup::new().env("HOLD_ANSWER_BYTES", 0).env("SHOW_PROVIDER_HEADERS", false)
}

/// A gateway with one provider that speaks the sample's format.
fn serving(sample: &Sample) -> (Fake, Gateway) {
    let provider = Fake::start();
    let gateway = unheld().provider(sample.provider("p", &provider)).start();
    (provider, gateway)
}

/// The same, where the provider knows the sample's model as `m-upstream`.
fn renaming(sample: &Sample) -> (Fake, Gateway) {
    renaming_with(unheld(), sample)
}

fn renaming_with(setup: Setup, sample: &Sample) -> (Fake, Gateway) {
    let provider = Fake::start();
    let row = sample.provider("p", &provider);
    let mapping = r#"{"m-asked":"m-upstream"}"#.into();
    let gateway = setup.provider(ProviderRow { model_mapping: mapping, ..row }).start();
    (provider, gateway)
}
