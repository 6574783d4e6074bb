//! What the Dockerfile and the compose file stand on, as far as it shows without a container
//! engine: the files that they name exist and the binary can be linked statically.

use std::fs;
use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

#[test]
fn what_the_image_copies_exists_and_is_not_ignored() {
    let (dockerfile, ignore) = (text("Dockerfile"), text(".dockerignore"));
    let mut count = 0;
    for line in
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from"))
    {
        let words: Vec<&str> = line.split(' ').collect();
        for source in &words[..words.len() - 1] {
            assert!(root().join(source).exists(), "COPY {source}");
            assert!(ignore.lines().any(|kept| kept.strip_prefix('!') == Some(source)), "{source} in .dockerignore");
            count += 1;
        }
    }
    assert!(count >= 4);
    assert!(dockerfile.contains("\nUSER 10001:10001\n") && dockerfile.contains("\nHEALTHCHECK "));
}

/// The sources name files to be compiled in; all of them are below what is copied.
#[test]
fn what_is_compiled_in_is_copied_too() {
    let dockerfile = text("Dockerfile");
    let manifest = text("Cargo.toml");
    let version =
        manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap().trim_end_matches('"');
    assert!(dockerfile.contains(&format!("FROM rust:{version}-")), "the image that builds has Rust {version}");
    let mut dirs = vec![root().join("src")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                dirs.push(entry);
                continue;
            }
            let source = fs::read_to_string(&entry).unwrap_or_default();
            for included in source.split("include_str!(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                let file = entry.parent().unwrap().join(included).canonicalize().unwrap();
                let top = file.strip_prefix(root()).unwrap().components().next().unwrap();
                let top = top.as_os_str().to_str().unwrap();
                assert!(dockerfile.contains(&format!("\nCOPY {top} ")), "{}: {included}", entry.display());
            }
        }
    }
}

/// glibc is all that it needs of a system, so that packages and image can link it statically.
#[test]
fn the_binary_needs_the_c_library_alone() {
    let output = Command::new("ldd").arg(env!("CARGO_BIN_EXE_llm-proxy")).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let of_glibc =
        ["linux-vdso.so.1", "libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux", "libdl.so.2", "libpthread.so.0"];
    let names = stdout.lines().filter_map(|line| line.split_whitespace().next());
    let foreign: Vec<&str> = names.filter(|name| !of_glibc.iter().any(|known| name.contains(known))).collect();
    assert!(stdout.contains("libc.so.6"), "{stdout}");
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[test]
fn what_the_services_mount_exists() {
    let compose = text("docker-compose.yml");
    let mounts: Vec<&str> =
        compose.lines().filter_map(|line| line.trim().strip_prefix("- ./")?.split(':').next()).collect();
    assert!(mounts.len() >= 3, "{mounts:?}");
    for mount in mounts {
        assert!(root().join(mount).is_dir(), "{mount}");
    }
    for service in ["llm-proxy", "postgres", "prometheus", "grafana"] {
        assert!(compose.contains(&format!("\n  {service}:\n")), "{service}");
    }
    assert_eq!(compose.matches("healthcheck:").count(), 4);
}

/// The binary's own words in both files: a command that does not exist would show only when a
/// container starts.
#[test]
fn the_commands_are_understood() {
    let (dockerfile, compose) = (text("Dockerfile"), text("docker-compose.yml"));
    assert!(
        compose.contains(r#"["CMD", "llm-proxy", "health"]"#) && dockerfile.contains(r#"CMD ["llm-proxy", "health"]"#)
    );
    for command in ["health", "serve"] {
        let output = Command::new(env!("CARGO_BIN_EXE_llm-proxy")).args([command, "--help"]).output().unwrap();
        assert!(output.status.success(), "llm-proxy {command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
