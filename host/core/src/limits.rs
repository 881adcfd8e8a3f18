//! The bounds of what a job and a guest may ask for.

/// Bounds that hold for every job, whichever plugin runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Actions in one job.
    pub actions_per_job_max: usize,
    /// Jobs that one may depend on.
    pub dependencies_per_job_max: usize,
    /// Bytes of one action's input.
    pub action_input_bytes_max: usize,
    /// Bytes of an id, a type or a name of a scope or branch.
    pub name_bytes_max: usize,
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
            action_input_bytes_max: 1 << 20,
            name_bytes_max: 512,
            dispatches_per_action_max: 64,
            dispatch_bytes_per_job_max: 16 << 20,
            dispatch_depth_max: 16,
            dispatched_jobs_per_root_max: 1_000,
            queue_depth_max: 100_000,
        }
    }
}
