//! The bounds of what a job and a guest may ask for.

/// Bounds that hold for every job, whichever plugin runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Actions in one job.
    pub actions_per_job_max: usize,
    /// Jobs that one may depend on.
    pub dependencies_per_job_max: usize,
    /// Bytes of all actions of one job together: ids, types, inputs and contexts. A store must be able
    /// to read back what it was given; the one on disk reads records of up to 512 MiB.
    pub job_bytes_max: usize,
    /// Bytes of one action's input.
    pub action_input_bytes_max: usize,
    /// Bytes of one action's context: nonce, hash, signer and signatures. Each operation keeps it.
    pub context_bytes_max: usize,
    /// Signatures in one action's context.
    pub signatures_per_action_max: usize,
    /// Bytes of an id, a type or a name of a scope or branch.
    pub name_bytes_max: usize,
    /// Bytes of the states of all scopes of one document: the host keeps them while the document is
    /// live, and the model must be able to load all of them at once. An action may not make a document
    /// larger than that. By default as much as a guest's memory.
    pub document_state_bytes_max: usize,
    /// Log lines that guests write in one attempt at a job, whatever each of their calls may write.
    pub log_lines_per_job_max: u32,
    /// Dispatches of one action.
    pub dispatches_per_action_max: usize,
    /// Bytes of all that the actions of one job dispatch: the host holds it until the job ends.
    pub dispatch_bytes_per_job_max: usize,
    /// How many dispatches may follow from one another.
    pub dispatch_depth_max: u32,
    /// Jobs that one submitted job may lead to by dispatch.
    pub dispatched_jobs_per_root_max: u32,
    /// Jobs that wait at once, in all lanes together.
    pub queue_depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            actions_per_job_max: 10_000,
            dependencies_per_job_max: 100,
            job_bytes_max: 64 << 20,
            action_input_bytes_max: 1 << 20,
            context_bytes_max: 64 << 10,
            signatures_per_action_max: 16,
            name_bytes_max: 512,
            document_state_bytes_max: 64 << 20,
            log_lines_per_job_max: 1_000,
            dispatches_per_action_max: 64,
            dispatch_bytes_per_job_max: 16 << 20,
            dispatch_depth_max: 16,
            dispatched_jobs_per_root_max: 1_000,
            queue_depth_max: 100_000,
        }
    }
}
