//! A disk that loses its power: what may be on it, after a process did what was recorded.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use fastrand::Rng;

use crate::content::Content;
use crate::file::SettlingFile;
use crate::names::{NameChange, Names, Node, Place, Settling};
use crate::recording::{Inode, Op};

/// What a loss of power leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Everything: only the process ended, and the system wrote the rest.
    Everything,
    /// What was synced, and nothing else.
    Synced,
    /// What a file system leaves that journals its metadata in order, such as ext4 with
    /// `data=ordered`: names and lengths up to some moment, and of the data written into files
    /// any part. Whatever is synced brings all earlier names with it.
    Ordered,
    /// Of everything that was not itself synced any part, in any order. A sync makes the content
    /// certain of a file or directory, and its own name: so much all file systems do that are in
    /// use on Linux.
    Harsh,
    /// What the standard allows: the same, but a name is certain only when its directory was
    /// synced, whether or not what has it was.
    Standard,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Everything, Self::Synced, Self::Ordered, Self::Harsh, Self::Standard];
}

/// Why a recording cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The process did something that the simulation does not know.
    #[error("the process used {0}, which is not simulated")]
    Unsupported(String),
    /// An operation names something that is not there.
    #[error("operation {op} is about `{what}`, which the simulation does not have")]
    Unknown {
        /// The operation's number.
        op: usize,
        /// What is not there.
        what: String,
    },
}

/// A directory on a disk, as far as operations have been applied to it.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Files by their number; `None` is a directory.
    nodes: Vec<Option<SettlingFile>>,
    /// What the file system calls them.
    inodes: HashMap<Inode, Node>,
    /// As the process sees the names.
    live: Names,
    harsh: Settling,
    standard: Settling,
    ordered: Settling,
    /// Operations so far.
    done: usize,
    /// Operations whose changes of metadata are in the journal of [`Mode::Ordered`] for certain.
    journaled: usize,
}

/// The content of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// By path, parents first; `None` is a directory.
    entries: BTreeMap<String, Option<Content>>,
}

const ROOT: Node = Node(0);

impl Disk {
    /// A disk with an empty directory on it: how a recording that the shim makes begins, if the
    /// directory was empty then.
    pub fn empty() -> Self {
        Self {
            nodes: vec![None],
            inodes: HashMap::new(),
            live: Names::default(),
            harsh: Settling::default(),
            standard: Settling::default(),
            ordered: Settling::default(),
            done: 0,
            journaled: 0,
        }
    }

    /// A disk with everything on it that is in a directory, for certain.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read.
    pub fn from_dir(dir: &Path) -> io::Result<Self> {
        let mut disk = Self::empty();
        disk.inodes.insert(inode_of(dir)?, ROOT);
        disk.add_dir(ROOT, dir)?;
        disk.harsh.settle_all();
        disk.standard.settle_all();
        disk.ordered.settle_all();
        Ok(disk)
    }

    /// Says that the process which comes next sees everything in another directory, as
    /// [`Mode::Everything`] leaves it: what was uncertain stays so.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read.
    pub fn move_to(&mut self, dir: &Path) -> io::Result<()> {
        self.inodes.clear();
        self.find_inodes(ROOT, dir)
    }

    fn find_inodes(&mut self, node: Node, path: &Path) -> io::Result<()> {
        self.inodes.insert(inode_of(path)?, node);
        if self.nodes[node.0].is_none() {
            let names: Vec<_> = self.live.of(node).map(|(name, node)| (path.join(name), node)).collect();
            names.into_iter().try_for_each(|(path, node)| self.find_inodes(node, &path))?;
        }
        Ok(())
    }

    fn add_dir(&mut self, parent: Node, path: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(path)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let file = if path.is_dir() { None } else { Some(SettlingFile::new(Content::read(&path)?)) };
            let is_dir = file.is_none();
            let node = self.add(inode_of(&path)?, file);
            self.change(vec![(Place { dir: parent, name }, Some(node))]);
            if is_dir {
                self.add_dir(node, &path)?;
            }
        }
        Ok(())
    }

    /// Applies the next operation.
    ///
    /// # Errors
    ///
    /// [`SimulationError`].
    pub fn apply(&mut self, op: &Op) -> Result<(), SimulationError> {
        match op {
            Op::Create { inode, path } => {
                let place = self.place(path)?;
                let node = self.add(*inode, Some(SettlingFile::default()));
                self.change(vec![(place, Some(node))]);
            }
            // The directory itself, which was there.
            Op::MakeDir { inode, path } if path.is_empty() => drop(self.inodes.insert(*inode, ROOT)),
            Op::MakeDir { inode, path } => {
                let place = self.place(path)?;
                let node = self.add(*inode, None);
                self.change(vec![(place, Some(node))]);
            }
            Op::Write { inode, at, data } => {
                let done = self.done;
                self.file(*inode)?.write(done, *at, data.clone());
            }
            Op::Resize { inode, bytes } => {
                let done = self.done;
                self.file(*inode)?.resize(done, *bytes);
            }
            Op::Sync { inode } => self.sync(*inode)?,
            Op::SyncAll => {
                self.nodes.iter_mut().flatten().for_each(SettlingFile::settle);
                self.harsh.settle_all();
                self.standard.settle_all();
                self.settle_journal();
            }
            Op::SyncFailed { inode } => {
                let node = self.node(*inode)?;
                if let Some(file) = &mut self.nodes[node.0] {
                    file.give_up();
                }
            }
            Op::Rename { from, to } => {
                let (from, to) = (self.place(from)?, self.place(to)?);
                let node = self.live.get(&from);
                self.change(vec![(from, None), (to, node)]);
            }
            Op::Unlink { path } | Op::RemoveDir { path } => {
                let place = self.place(path)?;
                self.change(vec![(place, None)]);
            }
            Op::Link { from, to } => {
                let (from, to) = (self.place(from)?, self.place(to)?);
                let node = self.live.get(&from);
                self.change(vec![(to, node)]);
            }
            Op::Say { .. } | Op::Fault => {}
            Op::Unsupported { what } => return Err(SimulationError::Unsupported(what.clone())),
        }
        self.done += 1;
        Ok(())
    }

    /// What may be there after a loss of power now.
    pub fn after_power_loss(&self, mode: Mode, rng: &mut Rng) -> Image {
        // Now nearly everything was written, now nearly nothing.
        let keep = *rng.choice(&[0.0, 0.1, 0.5, 0.9, 1.0]).unwrap_or(&0.5);
        let journal = if rng.f64() < keep { self.done } else { rng.usize(self.journaled..=self.done) };
        let names = match mode {
            Mode::Everything => self.live.clone(),
            Mode::Synced => self.harsh.settled(),
            Mode::Ordered => self.ordered.before(journal),
            Mode::Harsh => self.harsh.any_of(keep, rng),
            Mode::Standard => self.standard.any_of(keep, rng),
        };
        let mut content = |file: &SettlingFile| match mode {
            Mode::Everything => file.live(),
            Mode::Synced => file.settled(),
            Mode::Ordered => file.ordered(self.journaled, journal, keep, rng),
            Mode::Harsh | Mode::Standard => file.any_of(keep, rng),
        };
        let mut image = Image::default();
        self.collect(ROOT, "", &names, &mut content, &mut image);
        image
    }

    fn collect(
        &self,
        dir: Node,
        path: &str,
        names: &Names,
        content: &mut impl FnMut(&SettlingFile) -> Content,
        image: &mut Image,
    ) {
        for (name, node) in names.of(dir) {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let file = self.nodes[node.0].as_ref();
            image.entries.insert(path.clone(), file.map(&mut *content));
            if file.is_none() {
                self.collect(node, &path, names, content, image);
            }
        }
    }

    fn sync(&mut self, inode: Inode) -> Result<(), SimulationError> {
        let node = self.node(inode)?;
        match &mut self.nodes[node.0] {
            Some(file) => file.settle(),
            None => {
                self.harsh.settle_in(node);
                self.standard.settle_in(node);
            }
        }
        self.harsh.settle_name(node);
        self.settle_journal();
        Ok(())
    }

    fn settle_journal(&mut self) {
        self.ordered.settle_all();
        self.journaled = self.done + 1;
    }

    fn add(&mut self, inode: Inode, file: Option<SettlingFile>) -> Node {
        let node = Node(self.nodes.len());
        self.nodes.push(file);
        // The number may have been another's, who is gone.
        self.inodes.insert(inode, node);
        node
    }

    fn change(&mut self, edits: Vec<(Place, Option<Node>)>) {
        let change = NameChange { op: self.done, edits };
        self.live.apply(&change);
        self.ordered.push(change.clone());
        self.harsh.push(change.clone());
        self.standard.push(change);
    }

    fn node(&self, inode: Inode) -> Result<Node, SimulationError> {
        let unknown = || SimulationError::Unknown { op: self.done, what: format!("{inode:?}") };
        self.inodes.get(&inode).copied().ok_or_else(unknown)
    }

    fn file(&mut self, inode: Inode) -> Result<&mut SettlingFile, SimulationError> {
        let node = self.node(inode)?;
        let unknown = SimulationError::Unknown { op: self.done, what: format!("the file {inode:?}") };
        self.nodes[node.0].as_mut().ok_or(unknown)
    }

    fn place(&self, path: &str) -> Result<Place, SimulationError> {
        let unknown = || SimulationError::Unknown { op: self.done, what: path.to_owned() };
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut dir = ROOT;
        for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
            dir = self.live.get(&Place { dir, name: parent.to_owned() }).ok_or_else(unknown)?;
        }
        Ok(Place { dir, name: name.to_owned() })
    }
}

impl Image {
    /// Puts it into a directory, which must be empty.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn write_to(&self, dir: &Path) -> io::Result<()> {
        for (path, content) in &self.entries {
            match content {
                None => std::fs::create_dir(dir.join(path))?,
                Some(content) => content.write_to(&dir.join(path))?,
            }
        }
        Ok(())
    }

    /// The content of a file.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.entries.get(path)?.as_ref().map(Content::to_vec)
    }

    /// Every path in it.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

fn inode_of(path: &Path) -> io::Result<Inode> {
    Ok(Inode(std::fs::metadata(path)?.ino()))
}
