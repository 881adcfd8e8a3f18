//! The calls.

use std::mem::forget;

use bindings::wasi::cli::{environment, exit, stderr, stdin, stdout, terminal_stderr, terminal_stdin, terminal_stdout};
use bindings::wasi::clocks::{monotonic_clock, wall_clock};
use bindings::wasi::filesystem::{preopens, types};
use bindings::wasi::io::poll::{self, Pollable};
use bindings::wasi::io::streams::{OutputStream, StreamError};
use bindings::wasi::random::{insecure, insecure_seed, random};

use crate::AmbientAction;

mod bindings {
    wit_bindgen::generate!({
        path: "../../../host/sandbox/src/wasi/wasi.wit",
        world: "reductor:wasi/granted",
        generate_all,
    });
}

/// A line for each answer: the name of the function, and what it said.
macro_rules! lines {
    ($($name:literal: $answer:expr),* $(,)?) => { vec![$(format!("{}: {:?}", $name, $answer)),*] };
}

pub(crate) fn seen(action: AmbientAction) -> Vec<String> {
    match action {
        AmbientAction::Look { at } => look(&at),
        AmbientAction::Wait { spans, poll } => wait(&spans, poll),
        AmbientAction::Print { to, pieces, times } => {
            let stream = output(&to);
            for piece in (0..times).flat_map(|_| &pieces) {
                stream.blocking_write_and_flush(piece.as_bytes()).expect("it is open");
            }
            Vec::new()
        }
        AmbientAction::PrintAndPanic => {
            stderr::get_stderr().blocking_write_and_flush(b"last words").expect("it is open");
            panic!("with a line unfinished");
        }
        AmbientAction::WriteAtOnce { bytes } => {
            lines!["write": stdout::get_stdout().write(&vec![b'x'; bytes as usize])]
        }
        AmbientAction::RandomBytes { count } => lines!["get-random-bytes": random::get_random_bytes(count).len()],
        AmbientAction::Exit { code, success } => {
            match code {
                Some(code) => exit::exit_with_code(code),
                None => exit::exit(if success { Ok(()) } else { Err(()) }),
            }
            lines!["exit": "it came back"]
        }
        AmbientAction::Hoard { what, count } => {
            (0..count).for_each(|_| hoard(&what));
            lines!["held": count]
        }
        AmbientAction::Churn { count } => {
            for _ in 0..count {
                let (stream, moment) = (stdin::get_stdin(), monotonic_clock::subscribe_duration(1));
                drop((stream.subscribe(), moment));
            }
            lines!["given back": count]
        }
        AmbientAction::PollAtOnce { count } => {
            let pollable = stdin::get_stdin().subscribe();
            lines!["ready": poll::poll(&vec![&pollable; count as usize]).len()]
        }
    }
}

fn look(at: &str) -> Vec<String> {
    match at {
        "environment" => lines![
            "get-environment": environment::get_environment(),
            "get-arguments": environment::get_arguments(),
            "initial-cwd": environment::initial_cwd(),
        ],
        "files" => files(),
        "clocks" => lines![
            "wall": wall_clock::now(),
            "wall resolution": wall_clock::resolution(),
            "monotonic": monotonic_clock::now(),
            "monotonic again": monotonic_clock::now(),
            "monotonic resolution": monotonic_clock::resolution(),
        ],
        "random" => lines![
            "get-random-bytes": random::get_random_bytes(5),
            "get-random-u64": random::get_random_u64(),
            "get-insecure-random-bytes": insecure::get_insecure_random_bytes(3),
            "get-insecure-random-u64": insecure::get_insecure_random_u64(),
            "insecure-seed": insecure_seed::insecure_seed(),
        ],
        "poll" => polls(),
        "input" => input(),
        "output" => output_functions(),
        "terminals" => lines![
            "stdin": terminal_stdin::get_terminal_stdin().is_some(),
            "stdout": terminal_stdout::get_terminal_stdout().is_some(),
            "stderr": terminal_stderr::get_terminal_stderr().is_some(),
        ],
        other => panic!("nothing to see at {other}"),
    }
}

fn polls() -> Vec<String> {
    let soon = monotonic_clock::subscribe_instant(0);
    let later = monotonic_clock::subscribe_duration(3_600_000_000_000);
    let stream = stdin::get_stdin();
    let always = stream.subscribe();
    let polled = poll::poll(&[&later, &soon, &always]);
    let before = monotonic_clock::now();
    later.block();
    let after = monotonic_clock::now();
    lines![
        "poll": polled,
        "an hour passed": after - before >= 3_600_000_000_000 - 2_000,
        "poll later": poll::poll(&[&later, &soon, &always]),
        "ready": (later.ready(), soon.ready(), always.ready()),
        "for ever": monotonic_clock::subscribe_instant(u64::MAX).ready(),
    ]
}

/// Waits for all of `spans`, and says in which order they came.
fn wait(spans: &[u64], by_poll: bool) -> Vec<String> {
    let began = monotonic_clock::now();
    let mut waiting: Vec<(u64, Pollable)> =
        spans.iter().map(|span| (*span, monotonic_clock::subscribe_duration(*span))).collect();
    let mut came = Vec::new();
    while !waiting.is_empty() {
        if by_poll {
            let ready = poll::poll(&waiting.iter().map(|(_, pollable)| pollable).collect::<Vec<_>>());
            for index in ready.into_iter().rev() {
                came.push(waiting.remove(index as usize).0);
            }
        } else {
            let (span, pollable) = waiting.remove(0);
            while !pollable.ready() {}
            came.push(span);
        }
    }
    lines!["came": came, "took ms": (monotonic_clock::now() - began) / 1_000_000]
}

fn input() -> Vec<String> {
    let stdin = stdin::get_stdin();
    let ended = |error: StreamError| match error {
        StreamError::Closed => "closed".to_owned(),
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
    };
    lines![
        "read": stdin.read(10).map_err(ended),
        "blocking-read": stdin.blocking_read(u64::MAX).map_err(ended),
        "skip": stdin.skip(10).map_err(ended),
        "blocking-skip": stdin.blocking_skip(10).map_err(ended),
        "splice": stdout::get_stdout().splice(&stdin, 10).map_err(ended),
        "blocking-splice": stdout::get_stdout().blocking_splice(&stdin, 10).map_err(ended),
    ]
}

fn output_functions() -> Vec<String> {
    let (out, error) = (stdout::get_stdout(), stderr::get_stderr());
    let zeroes = (out.write_zeroes(2), out.blocking_write_zeroes_and_flush(1));
    lines![
        "check-write": out.check_write().is_ok_and(|bytes| bytes >= 4_096),
        "write": out.write(b" one\ntwo").is_ok(),
        "write-zeroes": zeroes.0.is_ok() && zeroes.1.is_ok(),
        "blocking-write-and-flush": error.blocking_write_and_flush(b"three\n").is_ok(),
        "flush": out.flush().is_ok() && error.blocking_flush().is_ok(),
        "subscribe": out.subscribe().ready(),
    ]
}

fn output(to: &str) -> OutputStream {
    if to == "stderr" { stderr::get_stderr() } else { stdout::get_stdout() }
}

fn hoard(what: &str) {
    match what {
        "stdin" => forget(stdin::get_stdin()),
        "stdout" => forget(stdout::get_stdout()),
        "stream" => forget(stdin::get_stdin().subscribe()),
        "moment" => forget(monotonic_clock::subscribe_duration(1)),
        other => panic!("there is no {other}"),
    }
}

/// Asks for the open directories; and would use them if there were any, so that the component
/// imports all that can be done with a file.
fn files() -> Vec<String> {
    let directories = preopens::get_directories();
    for (directory, path) in &directories {
        use_file(directory, path);
    }
    lines!["get-directories": directories.len()]
}

fn use_file(file: &types::Descriptor, path: &str) {
    let (follow, now) = (types::PathFlags::SYMLINK_FOLLOW, || types::NewTimestamp::Now);
    let _ = (file.read_via_stream(0), file.write_via_stream(0), file.append_via_stream());
    let _ = (file.advise(0, 1, types::Advice::Normal), file.sync_data(), file.sync());
    let _ = (file.get_flags(), file.get_type(), file.set_size(1), file.set_times(now(), now()));
    let _ = (file.read(1, 0), file.write(b"x", 0), file.create_directory_at(path));
    let _ = (file.stat(), file.stat_at(follow, path), file.set_times_at(follow, path, now(), now()));
    let _ = file.link_at(follow, path, file, path);
    let _ = file.open_at(follow, path, types::OpenFlags::CREATE, types::DescriptorFlags::WRITE);
    let _ = (file.readlink_at(path), file.remove_directory_at(path), file.rename_at(path, file, path));
    let _ = (file.symlink_at(path, path), file.unlink_file_at(path), file.is_same_object(file));
    let _ = (file.metadata_hash(), file.metadata_hash_at(follow, path));
    if let Ok(entries) = file.read_directory() {
        let _ = entries.read_directory_entry();
    }
    if let Err(StreamError::LastOperationFailed(error)) = stdin::get_stdin().read(1) {
        let _ = types::filesystem_error_code(&error);
    }
}
