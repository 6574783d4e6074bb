use std::process::ExitCode;

fn main() -> ExitCode {
    llm_proxy::cli::main()
}
