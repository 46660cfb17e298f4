//! Has the migrations embedded anew when a file is added, which the macro alone does not see.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
