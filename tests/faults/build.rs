//! Compiles the shim that is preloaded into the process under test.

use std::path::Path;

const SHIM: &str = "shim/shim.c";

fn main() {
    println!("cargo::rerun-if-changed={SHIM}");
    let out = std::env::var_os("OUT_DIR").expect("cargo runs build scripts with it");
    let library = Path::new(&out).join("libfaults_shim.so");
    // It is loaded by its path, and linked into nothing.
    let compiler = cc::Build::new().opt_level(2).pic(true).warnings(true).extra_warnings(true).get_compiler();
    let compiled = compiler.to_command().args(["-shared", "-o"]).arg(&library).arg(SHIM).status();
    match compiled {
        Ok(status) if status.success() => println!("cargo::rustc-env=FAULTS_SHIM={}", library.display()),
        Ok(_) => println!("cargo::error=the C compiler did not compile {SHIM}"),
        Err(error) => println!("cargo::error=the tests of faults need a C compiler: {error}"),
    }
}
