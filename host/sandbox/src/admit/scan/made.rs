//! What instances a component makes, and what each of them has.

use wasmparser::{ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentTypeRef, Encoding};

use crate::admit::measures::Measure;

/// What one instance of a module or a component has, with all that it makes inside.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Made {
    components: u64,
    core: u64,
    memories: u64,
    memory_bytes: u64,
    data_bytes: u64,
    tables: u64,
    table_elements: u64,
    elements: u64,
    type_copies: u64,
}

impl Made {
    pub(super) fn copies(type_copies: u64) -> Self {
        Self { type_copies, ..Self::default() }
    }

    pub(super) fn measures(&self) -> [(Measure, u64); 9] {
        [
            (Measure::ComponentInstances, self.components),
            (Measure::CoreInstances, self.core),
            (Measure::Memories, self.memories),
            (Measure::MemoryBytes, self.memory_bytes),
            (Measure::DataBytes, self.data_bytes),
            (Measure::Tables, self.tables),
            (Measure::TableElements, self.table_elements),
            (Measure::Elements, self.elements),
            (Measure::TypeCopies, self.type_copies),
        ]
    }

    /// Has more of what fills an instance of a module.
    pub(super) fn fill(&mut self, what: Measure, more: u64) {
        let filled = match what {
            Measure::Memories => &mut self.memories,
            Measure::MemoryBytes => &mut self.memory_bytes,
            Measure::DataBytes => &mut self.data_bytes,
            Measure::Tables => &mut self.tables,
            Measure::TableElements => &mut self.table_elements,
            Measure::Elements => &mut self.elements,
            _ => return,
        };
        *filled = filled.saturating_add(more);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
    }

    fn cover(&mut self, other: &Self) {
        self.combine(other, u64::max);
    }

    fn combine(&mut self, other: &Self, with: fn(u64, u64) -> u64) {
        let pairs = [
            (&mut self.components, other.components),
            (&mut self.core, other.core),
            (&mut self.memories, other.memories),
            (&mut self.memory_bytes, other.memory_bytes),
            (&mut self.data_bytes, other.data_bytes),
            (&mut self.tables, other.tables),
            (&mut self.table_elements, other.table_elements),
            (&mut self.elements, other.elements),
            (&mut self.type_copies, other.type_copies),
        ];
        for (own, other) in pairs {
            *own = with(*own, other);
        }
    }
}

/// A module or a component that is being read.
#[derive(Debug)]
pub(super) struct Open {
    encoding: Encoding,
    /// What one instance of it has, as far as it was read.
    pub(super) makes: Made,
    /// What its modules make, by their index; `None` if that cannot be known here.
    modules: Vec<Option<Made>>,
    /// What its components make, by their index.
    components: Vec<Option<Made>>,
}

impl Open {
    pub(super) fn new(encoding: Encoding) -> Self {
        let makes = match encoding {
            Encoding::Module => Made { core: 1, ..Made::default() },
            Encoding::Component => Made { components: 1, ..Made::default() },
        };
        Self { encoding, makes, modules: Vec::new(), components: Vec::new() }
    }
}

/// What the modules and components read so far make, at most.
///
/// An imported module or component, or one that comes out of an instance, is taken for one of
/// the largest. That errs on the safe side, unless a component imports what is defined after it;
/// then the compiler finds out how many instances there are, within its own bounds.
#[derive(Debug, Default)]
pub(super) struct Space {
    largest_module: Made,
    largest_component: Made,
}

impl Space {
    /// A module or a component was read to its end inside of `around`.
    pub(super) fn read(&mut self, ended: Open, around: Option<&mut Open>) {
        let (largest, makes) = match ended.encoding {
            Encoding::Module => (&mut self.largest_module, ended.makes),
            Encoding::Component => (&mut self.largest_component, ended.makes),
        };
        largest.cover(&makes);
        if let Some(around) = around {
            match ended.encoding {
                Encoding::Module => around.modules.push(Some(makes)),
                Encoding::Component => around.components.push(Some(makes)),
            }
        }
    }

    /// A type of components or instances was read: what is imported with it may have as much.
    pub(super) fn read_type(&mut self, type_copies: u64) {
        self.largest_component.cover(&Made { components: 1, type_copies, ..Made::default() });
    }

    pub(super) fn import(&self, open: &mut [Open], ty: ComponentTypeRef) {
        let Some(open) = open.last_mut() else { return };
        match ty {
            ComponentTypeRef::Module(_) => open.modules.push(None),
            ComponentTypeRef::Component(_) => open.components.push(None),
            _ => {}
        }
    }

    pub(super) fn alias(&self, open: &mut [Open], alias: &ComponentAlias<'_>) {
        let Some((innermost, around)) = open.split_last_mut() else { return };
        match *alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => innermost.modules.push(None),
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                innermost.components.push(None);
            }
            ComponentAlias::Outer { kind, count, index } => {
                let outer = match count.checked_sub(1) {
                    None => Some(&*innermost),
                    Some(levels) => around.iter().rev().nth(levels as usize),
                };
                match kind {
                    ComponentOuterAliasKind::CoreModule => {
                        let made = outer.and_then(|outer| outer.modules.get(index as usize).copied().flatten());
                        innermost.modules.push(made);
                    }
                    ComponentOuterAliasKind::Component => {
                        let made = outer.and_then(|outer| outer.components.get(index as usize).copied().flatten());
                        innermost.components.push(made);
                    }
                    ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => {}
                }
            }
            _ => {}
        }
    }

    /// What an instance of a module of the component that is being read has.
    pub(super) fn module(&self, open: &[Open], index: u32) -> Made {
        let known = open.last().and_then(|open| open.modules.get(index as usize).copied().flatten());
        known.unwrap_or(Made { core: 1, ..self.largest_module })
    }

    /// What an instance of a component of the component that is being read has.
    pub(super) fn component(&self, open: &[Open], index: u32) -> Made {
        let known = open.last().and_then(|open| open.components.get(index as usize).copied().flatten());
        known.unwrap_or(self.largest_component)
    }
}
