//! The repository keeps its own rules: `cargo xtask tidy` as a test.

#[test]
fn the_repository_is_tidy() {
    let violations = xtask::tidy::check(&xtask::root()).unwrap();
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}
