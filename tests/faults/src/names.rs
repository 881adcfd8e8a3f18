//! Which names files and directories have: for certain, and perhaps.

use std::collections::{BTreeMap, HashMap};

use fastrand::Rng;

/// A file or directory of the simulation. It keeps its number whatever name it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Node(pub(crate) usize);

/// The names in every directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(HashMap<Node, BTreeMap<String, Node>>);

/// A place for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) dir: Node,
    pub(crate) name: String,
}

/// A change of names that happens as a whole or not at all.
#[derive(Clone, Debug)]
pub(crate) struct NameChange {
    /// The number of the operation that made it.
    pub(crate) op: usize,
    /// What is at each of the places afterwards.
    pub(crate) edits: Vec<(Place, Option<Node>)>,
}

/// Names that are on the disk for certain, and changes of them that may be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settling {
    settled: Names,
    changes: Vec<NameChange>,
}

impl Names {
    /// The names in a directory.
    pub(crate) fn of(&self, dir: Node) -> impl Iterator<Item = (&String, Node)> {
        self.0.get(&dir).into_iter().flatten().map(|(name, node)| (name, *node))
    }

    pub(crate) fn get(&self, place: &Place) -> Option<Node> {
        self.0.get(&place.dir)?.get(&place.name).copied()
    }

    /// The directory that something has a name in.
    fn dir_of(&self, node: Node) -> Option<Node> {
        self.0.iter().find(|(_, names)| names.values().any(|named| *named == node)).map(|(dir, _)| *dir)
    }

    pub(crate) fn apply(&mut self, change: &NameChange) {
        for (place, node) in &change.edits {
            let names = self.0.entry(place.dir).or_default();
            match node {
                Some(node) => names.insert(place.name.clone(), *node),
                None => names.remove(&place.name),
            };
        }
    }
}

impl NameChange {
    fn concerns(&self, dir: Node) -> bool {
        self.edits.iter().any(|(place, _)| place.dir == dir)
    }

    fn shares_a_place_with(&self, other: &Self) -> bool {
        self.edits.iter().any(|(place, _)| other.edits.iter().any(|(theirs, _)| theirs == place))
    }
}

impl Settling {
    pub(crate) fn push(&mut self, change: NameChange) {
        self.changes.push(change);
    }

    /// A directory was synced: the names in it are certain.
    pub(crate) fn settle_in(&mut self, dir: Node) {
        let certain = self.changes.iter().map(|change| change.concerns(dir)).collect();
        self.settle(certain);
    }

    /// A file or directory was synced where that makes its own name certain, too, and those of
    /// the directories that it is in.
    pub(crate) fn settle_name(&mut self, node: Node) {
        let mut certain = vec![false; self.changes.len()];
        let mut reached = vec![node];
        while let Some(node) = reached.pop() {
            for (change, certain) in self.changes.iter().zip(&mut certain) {
                let named = change.edits.iter().filter(|(_, named)| *named == Some(node));
                for (place, _) in named.filter(|_| !std::mem::replace(certain, true)) {
                    reached.push(place.dir);
                }
            }
            reached.extend(self.settled.dir_of(node));
        }
        self.settle(certain);
    }

    /// Those changes are certain, and with them what they follow on.
    fn settle(&mut self, mut certain: Vec<bool>) {
        for later in (0..certain.len()).rev() {
            if certain[later] {
                for (earlier, certain) in certain[..later].iter_mut().enumerate() {
                    *certain |= self.changes[earlier].shares_a_place_with(&self.changes[later]);
                }
            }
        }
        let mut certain = certain.into_iter();
        let settled = &mut self.settled;
        self.changes.retain(|change| {
            let certain = certain.next().unwrap_or(false);
            if certain {
                settled.apply(change);
            }
            !certain
        });
    }

    /// Everything so far is certain.
    pub(crate) fn settle_all(&mut self) {
        for change in self.changes.drain(..) {
            self.settled.apply(&change);
        }
    }

    pub(crate) fn settled(&self) -> Names {
        self.settled.clone()
    }

    /// What is certain, and of the changes those that chance keeps.
    pub(crate) fn any_of(&self, keep: f64, rng: &mut Rng) -> Names {
        let mut names = self.settled();
        self.changes.iter().filter(|_| rng.f64() < keep).for_each(|change| names.apply(change));
        names
    }

    /// What is certain, and the changes of the operations before `op`.
    pub(crate) fn before(&self, op: usize) -> Names {
        let mut names = self.settled();
        self.changes.iter().filter(|change| change.op < op).for_each(|change| names.apply(change));
        names
    }
}
