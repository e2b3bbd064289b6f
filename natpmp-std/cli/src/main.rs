//! The program `natpmp`.

fn main() -> std::process::ExitCode {
    natpmp_cli::main()
}
