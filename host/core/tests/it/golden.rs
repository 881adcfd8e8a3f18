//! The JSON of every noun of the interface, byte for byte as the committed files have it.
//!
//! `UPDATE_GOLDEN=1 cargo test -p reductor-core golden` writes the files anew; read the
//! difference before committing it, because every client reads these bytes.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reductor_core::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Every file there is, so that one that no test reads any more is noticed.
const FILES: [&str; 29] = [
    "action",
    "action-smallest",
    "audit-stats",
    "causation",
    "divergence",
    "event-executor-started",
    "event-executor-stopped",
    "event-job-available",
    "event-job-completed",
    "event-job-failed",
    "event-job-retry",
    "event-job-started",
    "job",
    "job-completed",
    "job-error",
    "job-error-codes",
    "job-execution-config",
    "job-execution-config-empty",
    "job-executor-manager-config",
    "job-executor-manager-config-empty",
    "job-executor-manager-config-resolved",
    "job-failed",
    "job-pending",
    "job-result-failure",
    "job-result-smallest",
    "job-result-success",
    "job-running",
    "operation",
    "reasons",
];

/// Compares the JSON of `value` with the file.
fn written<T: Serialize>(file: &str, value: &T) -> String {
    assert!(FILES.contains(&file), "`{file}` is not in the list of golden files");
    let text = serde_json::to_string_pretty(value).expect("every noun has a JSON form") + "\n";
    let path = folder().join(file).with_extension("json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("the folder of golden files can be written");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file exists; UPDATE_GOLDEN=1 writes it");
    assert_eq!(text, golden, "{} differs", path.display());
    text
}

/// The same, and reads the file back to an equal value.
fn written_and_read<T: Serialize + DeserializeOwned + PartialEq + Debug>(file: &str, value: &T) {
    let text = written(file, value);
    let read: T = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(read, *value, "{file} reads back to another value");
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[test]
fn every_golden_file_belongs_to_a_test() {
    let entries = std::fs::read_dir(folder()).expect("the folder of golden files exists");
    let found: BTreeSet<_> = entries
        .map(|entry| entry.expect("an entry").path().with_extension("").file_name().map(PathBuf::from))
        .collect();
    assert_eq!(found, FILES.iter().map(|file| Some(PathBuf::from(file))).collect());
}

#[test]
fn a_job_in_each_status() {
    written_and_read("job", &Job { resulting_hash: None, ..job(JobStatus::Pending) });
    written_and_read("job-pending", &job(JobStatus::Pending));
    written_and_read("job-running", &job(JobStatus::Running));
    written_and_read("job-completed", &job(JobStatus::Completed));
    written_and_read("job-failed", &job(JobStatus::Failed));
}

#[test]
fn actions_and_operations() {
    written_and_read("action", &action());
    let smallest =
        Action { input: Json::null(), context: None, scope: Scope::from(Scope::GLOBAL), ..Action::clone(&action()) };
    written_and_read("action-smallest", &smallest);
    written_and_read("operation", &Operation { error: Some("no such entry".to_owned()), skip: 2, ..operation() });
}

#[test]
fn configurations() {
    let config = JobExecutionConfig {
        max_retries: Some(5),
        job_timeout: Some(1_500),
        retry_base_delay: Some(20),
        retry_max_delay: Some(400),
    };
    written_and_read("job-execution-config", &config);
    written_and_read("job-execution-config-empty", &JobExecutionConfig::default());
    let config = JobExecutorManagerConfig {
        max_concurrency: Some(4),
        job_timeout: Some(1_500),
        retry_base_delay: Some(20),
        retry_max_delay: Some(400),
    };
    written_and_read("job-executor-manager-config", &config);
    written_and_read("job-executor-manager-config-empty", &JobExecutorManagerConfig::default());
    written_and_read("job-executor-manager-config-resolved", &four_at_once().resolved());
    assert_eq!(config.resolved(), config, "what is given stays");
}

#[test]
fn the_default_concurrency_is_the_number_of_cores_and_every_one_is_bounded() {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    assert_eq!(JobExecutorManagerConfig::default().resolved().max_concurrency, Some(cores));
    let none = JobExecutorManagerConfig { max_concurrency: Some(0), ..JobExecutorManagerConfig::default() };
    assert_eq!(none.resolved().max_concurrency, Some(1));
    let many = JobExecutorManagerConfig { max_concurrency: Some(1_000_000), ..JobExecutorManagerConfig::default() };
    assert_eq!(many.resolved().max_concurrency, Some(JobExecutorManagerConfig::CONCURRENCY_MAX));
}

#[test]
fn a_configuration_refuses_fields_it_does_not_know() {
    let error = serde_json::from_str::<JobExecutionConfig>(r#"{"maxRetry": 1}"#).expect_err("a misspelled field");
    assert!(error.to_string().contains("unknown field `maxRetry`"), "{error}");
}

#[test]
fn results() {
    written_and_read("job-result-success", &success());
    written_and_read("job-result-failure", &failure());
    written_and_read("job-result-smallest", &JobResult { metadata: None, ..success() });
}

#[test]
fn errors_and_the_table_of_their_codes() {
    written_and_read("job-error", &job_error());
    let table: serde_json::Map<_, _> =
        JobErrorCode::ALL.iter().map(|code| (code.name().to_owned(), serde_json::json!(code))).collect();
    written("job-error-codes", &table);
    for code in JobErrorCode::ALL {
        assert_eq!(JobErrorCode::try_from(u32::from(code)), Ok(code));
    }
    let error = serde_json::from_str::<JobErrorCode>("90007").expect_err("no such code");
    assert_eq!(error.to_string(), "90007 is not an error code of jobs");
}

#[test]
fn reasons_are_spelled_as_they_are_named() {
    use Reason::*;
    let all = [
        Trap,
        Timeout,
        FuelExhausted,
        MemoryLimit,
        TableLimit,
        StackOverflow,
        OutputTooLarge,
        DispatchLimit,
        DispatchDenied,
        DispatchTarget,
        Rejected,
        InvalidOutput,
        AbiMismatch,
        Exit,
        Diverged,
        DependencyFailed,
        Cancelled,
    ];
    written_and_read("reasons", &all.to_vec());
    for reason in all {
        assert_eq!(serde_json::to_value(reason).expect("a string"), reason.name());
    }
}

#[test]
fn what_audits_find() {
    written_and_read("divergence", &divergence());
    let stats = AuditStats {
        audited: 12,
        diverged: 1,
        inconclusive: 2,
        working_ms: Span { us: 2_000_500 },
        auditing_ms: Span { us: 19_000 },
    };
    written_and_read("audit-stats", &stats);
    let Some(metadata) = failure().metadata else { unreachable!("a failure has metadata") };
    let with = JobMetadata { divergence: Some(Box::new(divergence())), ..metadata };
    let text = serde_json::to_string(&with).expect("every noun has a JSON form");
    assert_eq!(serde_json::from_str::<JobMetadata>(&text).expect("what was written can be read"), with);
}

#[test]
fn causation_of_a_dispatched_job() {
    written_and_read("causation", &causation());
}

#[test]
fn every_event_with_its_number() {
    let available = JobAvailableEvent {
        document_id: DocumentId::from("doc-1"),
        scopes: scopes(),
        branch: Branch::from("main"),
        job_id: job_id(),
    };
    event("event-job-available", 10000, Event::JobAvailable(available));
    let started = JobStartedEvent { job: job(JobStatus::Running), started_at: moment(0) };
    event("event-job-started", 20000, Event::JobStarted(started));
    let completed = JobCompletedEvent { job: job(JobStatus::Completed), result: Arc::new(success()) };
    event("event-job-completed", 20001, Event::JobCompleted(completed));
    let retry = JobRetryEvent { job: job(JobStatus::Pending), error: job_error(), retry_count: 1 };
    event("event-job-retry", 20003, Event::JobRetry(retry));
    let failed = JobFailedEvent { job: job(JobStatus::Failed), error: job_error(), will_retry: true, retry_count: 1 };
    event("event-job-failed", 20004, Event::JobFailed(failed));
    let started = ExecutorStartedEvent { config: four_at_once().resolved(), started_at: moment(0) };
    event("event-executor-started", 20005, Event::ExecutorStarted(started));
    let stopped = ExecutorStoppedEvent { stopped_at: moment(5), graceful: true };
    event("event-executor-stopped", 20006, Event::ExecutorStopped(stopped));
}

fn event(file: &str, number: u32, event: Event) {
    assert_eq!(event.number(), number);
    written(file, &event);
}

#[test]
fn an_operation_id_is_thirty_two_hexadecimal_digits_and_nothing_else() {
    let id = operation().id;
    let text = serde_json::to_string(&id).expect("a string");
    assert_eq!(serde_json::from_str::<OperationId>(&text).expect("its own spelling"), id);
    for wrong in ["", "00", "+0000000000000000000000000000000", "g0000000000000000000000000000000"] {
        let text = serde_json::to_string(wrong).expect("a string");
        assert!(serde_json::from_str::<OperationId>(&text).is_err(), "{wrong}");
    }
}

#[test]
fn spans_are_milliseconds_with_up_to_three_decimals() {
    for (us, text) in [(0, "0"), (1_000, "1"), (1_234, "1.234"), (1, "0.001"), (90_000_500, "90000.5")] {
        assert_eq!(serde_json::to_string(&Span { us }).expect("a number"), text);
        assert_eq!(serde_json::from_str::<Span>(text).expect("a number"), Span { us });
    }
    let longest = serde_json::to_string(&Span::MAX).expect("a number");
    assert_eq!(serde_json::from_str::<Span>(&longest).expect("a number"), Span::MAX);
    assert_eq!(Span::from(Duration::MAX), Span::MAX);
    for refused in ["-1", "4468897880362.816"] {
        assert!(serde_json::from_str::<Span>(refused).is_err(), "{refused}");
    }
}

#[test]
fn timestamps_keep_the_spelling_of_their_author() {
    for text in ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00.5Z", "2026-03-01T12:00:00.123456Z"] {
        let kept: TimestampText = serde_json::from_str(&format!("\"{text}\"")).expect("ISO 8601 in UTC");
        assert_eq!(kept.as_str(), text);
    }
    let cut = TimestampText::parse("2026-03-01T12:00:00.123456Z").expect("ISO 8601 in UTC").to_timestamp();
    assert_eq!(cut.to_string(), "2026-03-01T12:00:00.123Z");
    for text in
        ["", "Z", "yesterday", "2026-03-01", "2026-03-01T12:00:00", "2026-03-01T12:00:00+01:00", "2026-13-01T12:00:00Z"]
    {
        assert!(TimestampText::parse(text).is_err(), "{text}");
    }
}

// One example of each noun.

fn job_id() -> JobId {
    JobId::from("0198a6f0-3c1d-7c5e-9a51-1f9d3f1f7d3a")
}

/// Seconds after noon.
fn moment(seconds: i64) -> Timestamp {
    Timestamp { ms: 1_772_366_400_000 + seconds * 1_000 }
}

fn scopes() -> Arc<[Scope]> {
    Arc::new([Scope::from("global"), Scope::from("local")])
}

fn lane() -> LaneKey {
    LaneKey { document: DocumentId::from("doc-1"), branch: Branch::from("main") }
}

fn job(status: JobStatus) -> Job {
    Job {
        id: job_id(),
        document_id: lane().document,
        scopes: scopes(),
        branch: lane().branch,
        actions: Arc::new([action()]),
        resulting_hash: Some(state_hash(br#"{"value":3}"#)),
        status,
    }
}

fn action() -> Arc<Action> {
    let signer = ActionSigner {
        user: SignerUser {
            address: "0x52908400098527886E0F7030069857D2E4169EE7".into(),
            network_id: "eip155".into(),
            chain_id: 1,
        },
        app: SignerApp {
            name: "Connect".into(),
            key: "did:key:zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv".into(),
        },
        signatures: vec![[
            "1772366400".into(),
            "did:key:z6Mk".into(),
            "c2lnbmVk".into(),
            String::new(),
            "0x1f2e".into(),
        ]],
    };
    let context = ActionContext {
        prev_op_index: Some(-1),
        prev_op_hash: Some(state_hash(br#"{"value":0}"#)),
        nonce: Some("n-1".to_owned()),
        signer: Some(signer),
    };
    Arc::new(Action {
        id: ActionId::from("0198a6f0-0000-7000-8000-000000000001"),
        action_type: ActionType::from("INCREMENT"),
        timestamp_utc_ms: TimestampText::parse("2026-03-01T12:00:00.5Z").expect("ISO 8601 in UTC"),
        // Neither the order of the fields nor the spelling of the number may change.
        input: Json::parse(r#"{"z": 1.50,"by":3}"#).expect("JSON"),
        scope: Scope::from("local"),
        context: Some(Arc::new(context)),
    })
}

fn operation() -> Operation {
    let action = action();
    Operation {
        id: operation_id(&lane(), &action.scope, &action.id),
        index: 7,
        skip: 0,
        timestamp_utc_ms: action.timestamp_utc_ms.clone(),
        hash: state_hash(br#"{"value":3}"#),
        error: None,
        action,
    }
}

fn causation() -> Causation {
    Causation { job_id: job_id(), operation_id: operation().id, depth: 1 }
}

fn metadata() -> JobMetadata {
    let plugin = PluginRef {
        document_type: DocumentType::from("example/counter"),
        version: 2,
        digest: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(),
    };
    JobMetadata {
        attempts: 1,
        queued_ms: Span { us: 250 },
        plugin: Some(Arc::new(plugin)),
        fuel_consumed: Some(12_345),
        document_type: None,
        config: None,
        depends_on: Vec::new(),
        idempotency_key: None,
        causation: None,
        ..JobMetadata::default()
    }
}

fn success() -> JobResult {
    JobResult {
        job: job(JobStatus::Completed),
        success: true,
        completed_at: moment(1),
        duration: Span { us: 1_500 },
        operations: vec![operation()],
        metadata: Some(JobMetadata {
            document_type: Some(DocumentType::from("example/counter")),
            config: Some(JobExecutionConfig { max_retries: Some(1), ..JobExecutionConfig::default() }),
            depends_on: vec![JobId::from("0198f2a3-0000-7000-8000-000000000001")],
            idempotency_key: Some(IdempotencyKey::from("import 7, row 12")),
            causation: Some(causation()),
            ..metadata()
        }),
        error_code: None,
        error_message: None,
    }
}

fn failure() -> JobResult {
    let at = |function: &str, file: Option<&str>, line| Frame {
        function: function.to_owned(),
        file: file.map(str::to_owned),
        line,
    };
    JobResult {
        job: job(JobStatus::Failed),
        success: false,
        completed_at: moment(1),
        duration: Span { us: 2_000 },
        operations: Vec::new(),
        metadata: Some(JobMetadata {
            attempts: 2,
            reason: Some(Reason::Trap),
            deterministic: Some(true),
            rejection_code: Some("LIMIT".to_owned()),
            action_index: Some(0),
            trap: Some("unreachable".to_owned()),
            panic: Some(PanicNote {
                message: "attempt to divide by zero".to_owned(),
                location: "src/lib.rs:12:9".to_owned(),
            }),
            backtrace: Some(vec![
                at("counter::divide", Some("src/lib.rs"), Some(12)),
                at("wasm function 7", None, None),
            ]),
            ..metadata()
        }),
        error_code: Some(JobErrorCode::LibraryError),
        error_message: Some(job_error().error_message),
    }
}

fn job_error() -> JobError {
    JobError {
        error_code: JobErrorCode::LibraryError,
        error_message: "example/counter v2 failed (trap) in actions[0] `INCREMENT`: unreachable".to_owned(),
    }
}

fn divergence() -> Divergence {
    let side = |value: &str| {
        let text = format!(r#"{{"notes":["a","{value}"]}}"#);
        let hash = Some(state_hash(text.as_bytes()));
        Evidence { hash, bytes: text.len(), text, value: format!("\"{value}\"") }
    };
    Divergence {
        kind: DivergenceKind::State,
        action_index: 1,
        scope: Scope::from("global"),
        path: Some("notes[1]".to_owned()),
        resident: side("counted 2"),
        fresh: side("counted 1"),
        hint: Hint::HiddenState,
    }
}

fn four_at_once() -> JobExecutorManagerConfig {
    JobExecutorManagerConfig { max_concurrency: Some(4), ..JobExecutorManagerConfig::default() }
}
