//! Decides how to compile for WebAssembly, from facts about the machine. Touches nothing.

use std::fmt;

/// The target of every guest.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// The Debian packages of the parallel toolchain. The linker comes on top: `rust-web-llvm`
/// knows its version.
pub(crate) const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm"];

/// Whether the build may change the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InstallPolicy {
    /// Nothing is installed: what is there is used, or the build fails and lists the ways.
    #[default]
    Never,
    /// `rustup target add` may run, and on Debian, as root, `apt-get install`.
    Allowed,
}

/// What a guest was compiled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// A toolchain that has the target's standard library beside its own.
    RustupTarget {
        /// Its name, such as `stable-x86_64-unknown-linux-gnu`.
        toolchain: String,
        /// Whether this build added the target.
        added: bool,
    },
    /// Debian's parallel toolchain, which compiles the standard library with the guest.
    DebianWeb {
        /// The version of its compiler, such as `1.96.0`.
        version: String,
        /// Whether this build installed it.
        installed: bool,
    },
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RustupTarget { toolchain, added } => {
                let how = if *added { "just added" } else { "installed" };
                write!(f, "{toolchain} with target {TARGET} ({how})")
            }
            Self::DebianWeb { version, installed } => {
                let how = if *installed { ", just installed" } else { "" };
                write!(f, "Debian's rustc-web {version} with -Zbuild-std{how}")
            }
        }
    }
}

/// What the machine has, seen from the folder of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The compiler that `rustc` means in that folder, if any.
    pub(crate) active: Option<ActiveToolchain>,
    /// Whether `rustup` can be called.
    pub(crate) rustup_present: bool,
    /// The state of Debian's parallel toolchain.
    pub(crate) debian_web: DebianWeb,
    /// Whether this is Debian itself, whose package names we know.
    pub(crate) debian: bool,
    /// Whether packages can be installed without asking anyone.
    pub(crate) root: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ActiveToolchain {
    pub(crate) name: String,
    pub(crate) has_target: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DebianWeb {
    Ready {
        version: String,
    },
    /// The packages that are not there.
    Missing(Vec<String>),
}

/// One attempt to get at a toolchain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    UseTarget { toolchain: String },
    AddTarget { toolchain: String },
    UseDebian { version: String },
    InstallDebian,
}

/// The attempts worth making, in order; the first that succeeds is the toolchain. None
/// means that a person has to choose among [`ways`].
pub(crate) fn plan(facts: &Facts, policy: InstallPolicy) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(active) = &facts.active {
        let toolchain = active.name.clone();
        if active.has_target {
            return vec![Step::UseTarget { toolchain }];
        }
        if facts.rustup_present && policy == InstallPolicy::Allowed {
            steps.push(Step::AddTarget { toolchain });
        }
    }
    match &facts.debian_web {
        DebianWeb::Ready { version } => steps.push(Step::UseDebian { version: version.clone() }),
        DebianWeb::Missing(_) if policy == InstallPolicy::Allowed && facts.debian && facts.root => {
            steps.push(Step::InstallDebian);
        }
        DebianWeb::Missing(_) => {}
    }
    steps
}

/// What a person can do where [`plan`] leads nowhere.
pub(crate) fn ways(facts: &Facts, policy: InstallPolicy) -> Vec<String> {
    let mut ways = Vec::new();
    let add = format!("rustup target add {TARGET}");
    match (&facts.active, facts.rustup_present) {
        (Some(active), true) => ways.push(format!("`{add}` (active toolchain: {})", active.name)),
        (None, true) => ways.push(format!("`rustup toolchain install stable`, then `{add}`")),
        (_, false) => ways.push(format!("install rustup (https://rustup.rs), then `{add}`")),
    }
    if let (true, DebianWeb::Missing(missing)) = (facts.debian, &facts.debian_web) {
        ways.push(format!("as root: `apt-get install --no-install-recommends {}`", missing.join(" ")));
    }
    if policy == InstallPolicy::Never {
        ways.push(
            "allow this build to install it: `--install-toolchain` (in a build script `InstallPolicy::Allowed`)".into(),
        );
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "stable-x86_64-unknown-linux-gnu";

    /// A machine with rustup and nothing for WebAssembly: Debian, as root.
    fn machine() -> Facts {
        Facts {
            active: Some(ActiveToolchain { name: NAME.into(), has_target: false }),
            rustup_present: true,
            debian_web: DebianWeb::Missing(vec!["rustc-web".into(), "lld-22".into()]),
            debian: true,
            root: true,
        }
    }

    fn with_debian_web(facts: Facts) -> Facts {
        Facts { debian_web: DebianWeb::Ready { version: "1.96.0".into() }, ..facts }
    }

    fn add() -> Step {
        Step::AddTarget { toolchain: NAME.into() }
    }

    fn debian() -> Step {
        Step::UseDebian { version: "1.96.0".into() }
    }

    #[test]
    fn an_installed_target_is_used_whatever_else_is_there() {
        let mut facts = with_debian_web(machine());
        facts.active = Some(ActiveToolchain { name: NAME.into(), has_target: true });
        for policy in [InstallPolicy::Never, InstallPolicy::Allowed] {
            assert_eq!(plan(&facts, policy), [Step::UseTarget { toolchain: NAME.into() }]);
        }
    }

    #[test]
    fn with_permission_rustup_is_asked_before_debian_is_used() {
        assert_eq!(plan(&with_debian_web(machine()), InstallPolicy::Allowed), [add(), debian()]);
    }

    #[test]
    fn without_permission_debians_toolchain_is_used_where_it_is() {
        assert_eq!(plan(&with_debian_web(machine()), InstallPolicy::Never), [debian()]);
    }

    #[test]
    fn with_permission_debians_toolchain_is_installed_after_rustup_failed() {
        assert_eq!(plan(&machine(), InstallPolicy::Allowed), [add(), Step::InstallDebian]);
    }

    #[test]
    fn without_permission_nothing_is_installed() {
        assert_eq!(plan(&machine(), InstallPolicy::Never), []);
    }

    #[test]
    fn packages_are_installed_on_debian_as_root_alone() {
        for facts in [Facts { debian: false, ..machine() }, Facts { root: false, ..machine() }] {
            assert_eq!(plan(&facts, InstallPolicy::Allowed), [add()]);
        }
    }

    #[test]
    fn without_rustup_no_target_is_added() {
        let facts = Facts { rustup_present: false, ..machine() };
        assert_eq!(plan(&facts, InstallPolicy::Allowed), [Step::InstallDebian]);
        let facts = Facts { active: None, ..with_debian_web(machine()) };
        assert_eq!(plan(&facts, InstallPolicy::Allowed), [debian()]);
    }

    #[test]
    fn the_ways_name_what_is_missing_here() {
        let ways = ways(&machine(), InstallPolicy::Never).join("\n");
        for part in [NAME, "rustup target add", "rustc-web lld-22", "--install-toolchain"] {
            assert!(ways.contains(part), "{part} is not in\n{ways}");
        }
    }

    #[test]
    fn permission_that_was_given_is_not_asked_for() {
        let facts = Facts { debian: false, active: None, rustup_present: false, ..machine() };
        let ways = ways(&facts, InstallPolicy::Allowed);
        assert_eq!(ways.len(), 1);
        assert!(ways[0].contains("https://rustup.rs"));
    }
}
