//! Telling how two states differ takes little memory, however large they are.
//!
//! A test of its own, because it looks at the memory of the whole process.
#![cfg(target_os = "linux")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use reductor_core::{
    Action, ApplyError, AuditPolicy, Call, DivergenceKind, DocumentType, EventBus, ExecutorConfig, JobExecutorManager,
    LiveDocument, Manifest, MemoryStore, PluginRef, Reducer, Reducers, Scope, ScopeState, Submission,
};

const MIB: usize = 1 << 20;
/// Elements of a state that is as large as one may be, with eight bytes each.
const ELEMENTS: usize = 16 * MIB / 8;

/// A model whose instances each have a state of their own: many small objects, of which the last one
/// differs. As trees two of them take gigabytes.
struct Impure {
    manifest: Manifest,
    plugin: Arc<PluginRef>,
    instances: AtomicU32,
}

struct Instance(u32);

impl Reducer for Impure {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn plugin(&self) -> &Arc<PluginRef> {
        &self.plugin
    }

    fn load(&self, _: &[ScopeState], _: &mut Call<'_>) -> Result<Box<dyn LiveDocument>, ApplyError> {
        Ok(Box::new(Instance(self.instances.fetch_add(1, Ordering::Relaxed))))
    }
}

impl LiveDocument for Instance {
    fn apply(&mut self, action: &Action, _: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        let mut json = b"[".to_vec();
        json.extend_from_slice(br#"{"a":0},"#.repeat(ELEMENTS - 1).as_slice());
        json.extend_from_slice(format!(r#"{{"a":{}}}]"#, self.0 + 1).as_bytes());
        Ok(ScopeState { scope: action.scope.clone(), json: json.into() })
    }

    fn state(&mut self, scope: &Scope, _: &mut Call<'_>) -> Result<ScopeState, ApplyError> {
        Ok(ScopeState { scope: scope.clone(), json: Arc::from(&b"[]"[..]) })
    }

    fn reload(&mut self, _: &[ScopeState], _: &mut Call<'_>) -> Result<(), ApplyError> {
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

/// The most memory that this process has had so far, in bytes.
fn memory_peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of kilobytes") * 1024
}

#[test]
fn two_states_of_16_mib_that_differ_take_little_memory_to_compare() {
    let document_type = DocumentType::from("test/impure");
    let plugin = PluginRef { document_type: document_type.clone(), version: 1, digest: "native".into() };
    let reducers = Arc::new(Reducers::new());
    reducers.register(Arc::new(Impure {
        manifest: Manifest {
            document_type,
            version: 1,
            scopes: vec![Scope::from(Scope::GLOBAL)],
            actions: Vec::new(),
            canonical: true,
        },
        plugin: Arc::new(plugin),
        instances: AtomicU32::new(0),
    }));
    let config = ExecutorConfig { audit: AuditPolicy::Every, ..ExecutorConfig::default() };
    let manager = JobExecutorManager::new(config, reducers, Arc::new(MemoryStore::new()), EventBus::new(16));
    manager.start(None).expect("threads are left");
    let submission = r#"{"documentId": "d", "documentType": "test/impure", "actions": [{"type": "A"}]}"#;
    let submission = Submission::from_json(submission).expect("a submission");
    let result = manager.enqueue(submission).expect("it is accepted").wait_blocking();

    let divergence = result.metadata.as_ref().and_then(|metadata| metadata.divergence.as_ref());
    let divergence = divergence.expect("the fresh instance made another state");
    assert_eq!((divergence.kind, divergence.resident.bytes), (DivergenceKind::State, 16 * MIB + 1));
    assert_eq!(divergence.path, Some(format!("[{}].a", ELEMENTS - 1)));
    assert_eq!((divergence.resident.value.as_str(), divergence.fresh.value.as_str()), ("1", "2"));
    // Both states, each once while it is put together, and what little else there is.
    let peak = memory_peak();
    assert!(peak < 200 * MIB, "the process took {} MiB", peak / MIB);
}
