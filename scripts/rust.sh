# shellcheck shell=bash
# A Rust toolchain that is new enough for this project; source after lib.sh.

wanted_rust() { sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$1/Cargo.toml"; }

# Where rustup puts things, for us and for whoever called sudo.
find_cargo_folders() {
  local home
  for home in "$HOME" "$(getent passwd "${SUDO_USER:-}" | cut -d : -f 6)"; do
    if [[ -n $home && -x $home/.cargo/bin/cargo && :$PATH: != *":$home/.cargo/bin:"* ]]; then
      PATH=$PATH:$home/.cargo/bin
    fi
  done
}

# rust_works WANTED: cargo and a compiler of that version. `rustc` may be
# rustup's stand-in, which fails without a toolchain.
rust_works() {
  local version
  have cargo && version=$(rustc --version 2>/dev/null) || return 1
  version_at_least "$(cut -d ' ' -f 2 <<<"$version")" "$1"
}

install_rust_packages() {
  local wanted=$1 suffix version
  # Debian keeps a second, newer compiler for its browsers.
  for suffix in '' -web; do
    version=$(package_candidate "rustc$suffix")
    if [[ -n $version ]] && version_at_least "$version" "$wanted" &&
      [[ -n $(package_candidate "cargo$suffix") ]]; then
      install_packages "Rust $version builds autoodoo" "rustc$suffix" "cargo$suffix"
      return
    fi
  done
  return 1
}

install_rustup_package() {
  [[ -n $(package_candidate rustup) ]] || return 1
  install_packages "it installs the Rust toolchain" rustup
  run_logged "installing the stable Rust toolchain" "1 to 2 min" "$(log_dir)/rustup.log" \
    rustup default stable
}

# The way that Rust's own makers give for systems without a package of it.
install_rustup_upstream() {
  run_logged "installing rustup, Rust's own installer" "1 to 2 min" "$(log_dir)/rustup.log" \
    bash -o pipefail -c 'curl --proto "=https" --tlsv1.2 --silent --show-error --fail --max-time 300 \
      https://sh.rustup.rs | sh -s -- -y --profile minimal --no-modify-path'
}

# ensure_rust PROJECT: leaves cargo on PATH, or ends with what to do.
ensure_rust() {
  local wanted attempt
  wanted=$(wanted_rust "$1")
  install_packages "a C compiler and linker are needed to build" gcc libc6-dev
  find_cargo_folders
  if rust_works "$wanted"; then return; fi
  say "- no Rust $wanted or newer here"
  ! have apt-get || refresh_package_lists
  for attempt in "install_rust_packages $wanted" install_rustup_package install_rustup_upstream; do
    if $attempt; then
      find_cargo_folders
      hash -r
      if rust_works "$wanted"; then return; fi
    fi
  done
  die "Rust $wanted or newer is needed to build autoodoo, and could not be installed" \
    "install it as https://www.rust-lang.org/tools/install says, then run this again"
}

# ensure_rust_checkers: formatter and linter of the toolchain in use.
ensure_rust_checkers() {
  rust_checkers_work && return
  if have rustup; then
    run_logged "adding rustfmt and clippy to the toolchain" "some seconds" "$(log_dir)/rustup.log" \
      rustup component add rustfmt clippy || true
  elif package_installed cargo-web; then
    install_packages "the formatter and the linter" rustfmt-web rust-web-clippy
  else
    install_packages "the formatter and the linter" rustfmt rust-clippy
  fi
  rust_checkers_work || die "cargo fmt and cargo clippy do not run here"
}

rust_checkers_work() {
  cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1
}
