//! The test application, linked statically, so that it can be a container image's only file.

use std::path::PathBuf;

use crate::cargo;

/// Where it is, once it is built.
pub(crate) fn path() -> anyhow::Result<PathBuf> {
    Ok(target_dir()?.join(cargo::host_triple()?).join("release/drowse-testapp"))
}

/// Its own folder: other flags in the shared one would make cargo build everything again, at each
/// change between the two.
fn target_dir() -> anyhow::Result<PathBuf> {
    Ok(cargo::target_dir()?.join("testapp"))
}

/// Builds it where it is out of date.
pub(crate) fn build() -> anyhow::Result<()> {
    let mut command = cargo::cargo(["build", "--quiet", "--release", "-p", "drowse-testapp"]);
    command
        .args(["--target", &cargo::host_triple()?])
        .arg("--target-dir")
        .arg(target_dir()?)
        // Link-time optimisation doubles the time of the build and gains nothing here.
        .args(["--config", "profile.release.lto='off'"])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo::run(&mut command)
}
