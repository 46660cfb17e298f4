//! Has the migrations embedded anew when a file is added, which the macro alone does not see.
#![expect(clippy::print_stdout, reason = "how a build script speaks to cargo")]

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
