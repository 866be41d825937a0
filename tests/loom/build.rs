//! `cfg(loom)`, by which the tap's files leave their own unit tests out of the models.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(loom)");
    println!("cargo::rustc-cfg=loom");
}
