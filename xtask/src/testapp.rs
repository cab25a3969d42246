//! Programs that are linked statically, so that one can be a container image's only file: the test
//! application, and drowse itself.

use std::path::PathBuf;

use crate::cargo;

/// Where the test application is, once it is built.
pub(crate) fn path() -> anyhow::Result<PathBuf> {
    path_of("drowse-testapp")
}

/// Where drowse is, as it goes into an image, once it is built.
pub(crate) fn path_of_drowse() -> anyhow::Result<PathBuf> {
    path_of("drowse")
}

fn path_of(program: &str) -> anyhow::Result<PathBuf> {
    Ok(target_dir()?.join(cargo::host_triple()?).join("release").join(program))
}

/// Its own folder: other flags in the shared one would make cargo build everything again, at each
/// change between the two.
fn target_dir() -> anyhow::Result<PathBuf> {
    Ok(cargo::target_dir()?.join("testapp"))
}

/// Builds the test application where it is out of date.
pub(crate) fn build() -> anyhow::Result<()> {
    build_package("drowse-testapp")
}

/// Builds drowse where it is out of date.
pub(crate) fn build_drowse() -> anyhow::Result<()> {
    build_package("drowse")
}

fn build_package(package: &str) -> anyhow::Result<()> {
    let mut command = cargo::cargo(["build", "--quiet", "--release", "-p", package]);
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
