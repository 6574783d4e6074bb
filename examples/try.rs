use llm_proxy::*;
use std::sync::Arc;
fn main() {
    tracing_subscriber::fmt().with_env_filter(std::env::var("RUST_LOG").unwrap_or("info".into())).init();
    let mut a = std::env::args().skip(1);
    let port: u16 = a.next().unwrap().parse().unwrap();
    let base = a.next().unwrap();
    let driver = a.next().unwrap();
    let boot = config::boot::Boot { port, driver: if driver=="epoll" {config::boot::Driver::Epoll} else {config::boot::Driver::Auto}, ..Default::default() };
    let shared = Arc::new(control::Shared::new(boot, 1, control::Hints{no_credentials:"none".into(), no_providers:"none".into()}));
    use sha2::Digest;
    let hash = hex::encode(sha2::Sha256::digest(b"k"));
    let rows = config::rows::Rows { version: 1, providers: vec![config::rows::ProviderRow{ id:1, provider_key:"mock".into(), provider_type:"openai".into(), api_base: base, api_key:"sk-up".into(), model_mapping:"{}".into(), weight:1, provider_params:"{}".into(), is_enabled:true, lua_script: None }], credentials: vec![config::rows::CredentialRow{id:1, credential_key: hash, name:"t".into(), allowed_models:"[]".into(), rate_limit:None, burst:None, expires_at:None, is_enabled:true }]};
    let (snap, problems) = config::compile::compile(&rows, None, &|_: &str| None);
    println!("{problems:?}");
    shared.publisher.publish(snap);
    let team = worker::Team::start(&shared).unwrap();
    println!("listening {} {}", team.addr, team.driver());
    loop { std::thread::sleep(std::time::Duration::from_secs(3600)); }
}
