//! What a data set holds twice: equal pixels, near duplicates, and what of it crosses splits or labels.
//!
//! Equal: the hash of the decoded pixels. Near: perceptual hashes within a distance, found through an index
//! ([`near`]), and then the coarse colours compared ([`difference`]). Invariant: an image that is equal to
//! an earlier one stands for nothing of its own in the search, so that thousands of equal images cost no
//! more than one; images of nearly one colour have no perceptual hash and are counted, not compared; of
//! images that share one hash each is compared with at most [`MOST_OF_ONE_HASH`] others.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use serde::Serialize;

use super::measure::difference;
use super::near::{self, near_pairs};
use super::quality::Image;
use super::view::Pair;
use crate::decode::Decoder;
use crate::error::Result;
use crate::page::Thumbnail;
use crate::shard::ShardReader;
use crate::source::SplitList;

/// The distance of perceptual hashes that is searched by default.
pub const DISTANCE: u32 = 7;
/// Near duplicates' coarse colours differ by less: root mean square, grey levels.
pub const MOST_DIFFERENCE: f64 = 8.0;
/// The most images that an image of the same hash, or of a hash near by, is compared with.
pub const MOST_OF_ONE_HASH: usize = 64;
/// Pairs that the report lists and the page shows.
const LISTED: usize = 200;
/// Pairs that the page shows as images.
const SHOWN: usize = 24;
/// The longest side of an image on the page, in pixels.
const THUMBNAIL: u32 = 96;

/// What is there twice. Counts are of images of the data set itself, not of what it is compared with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Leakage {
    /// What two images are compared by: `pixels`, or `path` for lists.
    pub by: &'static str,
    /// Images of validation and test splits that also are, equal or nearly, in the training split or in
    /// the data set that is compared with.
    pub leaked: u64,
    /// Those of them whose pixels are equal.
    pub leaked_exact: u64,
    /// Images whose pixels (or path) an earlier image has.
    pub duplicates: u64,
    /// Images that have a near duplicate.
    pub near_duplicates: u64,
    /// Images that have an equal or near duplicate with another label.
    pub label_conflicts: u64,
    /// Groups of images that hang together as duplicates.
    pub clusters: u64,
    /// The images of the largest such group.
    pub largest_cluster: u64,
    /// Images of nearly one colour, which have no perceptual hash.
    pub flat: u64,
    /// Bits in which hashes may differ; `None` for lists.
    pub distance: Option<u32>,
    /// Buckets of the index that were too crowded to be searched.
    pub crowded_buckets: usize,
    /// For each two splits, how many images of the first have a duplicate in the second.
    pub between: Vec<Between>,
    /// The pairs: those that cross splits or labels first, then the nearest.
    pub pairs: Vec<DuplicatePair>,
    /// How many pairs there are in all.
    pub pairs_in_all: u64,
    /// All pairs. Not in the JSON: `--flags` writes them.
    #[serde(skip)]
    pub all_pairs: Vec<DuplicatePair>,
}

/// Duplicates between two splits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Between {
    /// Whose images are counted.
    pub images_of: String,
    /// Where their duplicates are.
    pub found_in: String,
    /// Images with an equal one there.
    pub exact: u64,
    /// Images with a near one there, and no equal one.
    pub near: u64,
}

/// Two images that are duplicates.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DuplicatePair {
    /// Whether the pixels are equal.
    pub exact: bool,
    /// Bits in which the hashes differ.
    pub distance: u32,
    /// How far the coarse colours lie apart, in grey levels.
    pub difference: f64,
    /// The images.
    pub images: [Which; 2],
}

/// One image of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Which {
    /// Its split.
    pub split: String,
    /// Its position in the list.
    pub id: u64,
    /// Where it came from.
    pub path: String,
    /// Its class.
    pub label: u32,
}

/// All images, and where to read them again.
pub struct Search<'a> {
    /// The images of all splits, split after split.
    pub images: &'a [Image],
    /// The splits' names.
    pub groups: &'a [String],
    /// Their shards.
    pub readers: &'a [&'a ShardReader],
    /// How many of the splits are the data set's own.
    pub own_groups: usize,
    /// Bits in which hashes may differ.
    pub distance: u32,
}

/// Two images, by their places among all.
#[derive(Debug, Clone, Copy)]
struct Edge {
    a: u32,
    b: u32,
    distance: u32,
    difference: f64,
    exact: bool,
}

impl Search<'_> {
    /// Finds the duplicates; the second value has the pairs that are worth showing.
    pub fn run(&self) -> Result<(Leakage, Vec<Pair>)> {
        let copies = self.copies();
        let (near, crowded_buckets) = self.near(&copies);
        let judged = self.judge(&copies, &near);
        let mut edges = self.edges(&copies, near);
        let rank = |edge: &Edge| {
            let (a, b) = (&self.images[edge.a as usize], &self.images[edge.b as usize]);
            let crosses = (a.group != b.group, a.label != b.label);
            (
                !crosses.0,
                !crosses.1,
                !edge.exact,
                edge.distance,
                edge.a,
                edge.b,
            )
        };
        edges.sort_by_key(rank);
        let pairs: Vec<DuplicatePair> = edges.iter().map(|edge| self.describe(edge)).collect();
        let shown = edges.iter().take(SHOWN).map(|edge| self.show(edge));
        let shown = shown.collect::<Result<_>>()?;
        let leakage = Leakage {
            by: "pixels",
            flat: self
                .images
                .iter()
                .filter(|image| image.phash.is_none())
                .count() as u64,
            distance: Some(self.distance),
            crowded_buckets,
            pairs: pairs.iter().take(LISTED).cloned().collect(),
            pairs_in_all: pairs.len() as u64,
            all_pairs: pairs,
            ..judged
        };
        Ok((leakage, shown))
    }

    /// The images of equal pixels, each class of them under its first image.
    fn copies(&self) -> BTreeMap<u32, Vec<u32>> {
        let mut first: HashMap<u128, u32> = HashMap::with_capacity(self.images.len());
        let mut copies: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (at, image) in (0..).zip(self.images) {
            let of = *first.entry(image.pixels_hash).or_insert(at);
            copies.entry(of).or_default().push(at);
        }
        copies
    }

    /// Near pairs of images that are first of their kind.
    fn near(&self, copies: &BTreeMap<u32, Vec<u32>>) -> (Vec<Edge>, usize) {
        let mut by_hash: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for &at in copies.keys() {
            if let Some(hash) = self.images[at as usize].phash {
                by_hash.entry(hash).or_default().push(at);
            }
        }
        let hashes: Vec<u64> = by_hash.keys().copied().collect();
        let members: Vec<&Vec<u32>> = by_hash.values().collect();
        let found = near_pairs(&hashes, self.distance);
        let same = (0..hashes.len() as u32).map(|i| (i, i, 0));
        let candidates: Vec<(u32, u32, u32)> = same.chain(found.pairs).collect();
        let edges = candidates
            .par_iter()
            .with_min_len(256)
            .flat_map_iter(|&(i, j, distance)| {
                let (left, right) = (members[i as usize], members[j as usize]);
                let of_one = move |(at, &a): (usize, &u32)| {
                    // Within one hash: those after it. They are compared to a bounded number.
                    let from = if i == j { at + 1 } else { 0 };
                    let others = right[from.min(right.len())..].iter().take(MOST_OF_ONE_HASH);
                    others
                        .filter_map(move |&b| self.compare(a, b, distance))
                        .collect::<Vec<_>>()
                };
                left.iter().enumerate().flat_map(of_one).collect::<Vec<_>>()
            })
            .collect();
        (edges, found.crowded_buckets)
    }

    fn compare(&self, a: u32, b: u32, distance: u32) -> Option<Edge> {
        let (one, other) = (&self.images[a as usize], &self.images[b as usize]);
        let difference = difference(&one.signature, &other.signature);
        (difference < MOST_DIFFERENCE).then_some(Edge {
            a: a.min(b),
            b: a.max(b),
            distance,
            difference,
            exact: false,
        })
    }

    /// Every pair once: each copy with the first of its kind, and the near ones.
    fn edges(&self, copies: &BTreeMap<u32, Vec<u32>>, near: Vec<Edge>) -> Vec<Edge> {
        let exact = copies.values().flat_map(|members| {
            members[1..].iter().map(|&b| Edge {
                a: members[0],
                b,
                distance: 0,
                difference: 0.0,
                exact: true,
            })
        });
        exact.chain(near).collect()
    }

    /// Counts images: an image's duplicates are its copies, the near ones and their copies.
    fn judge(&self, copies: &BTreeMap<u32, Vec<u32>>, near: &[Edge]) -> Leakage {
        let mut neighbours: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut sets = Sets::new(self.images.len());
        for edge in near {
            neighbours.entry(edge.a).or_default().push(edge.b);
            neighbours.entry(edge.b).or_default().push(edge.a);
            sets.join(edge.a, edge.b);
        }
        let mut between: BTreeMap<(u8, u8), (u64, u64)> = BTreeMap::new();
        let mut out = Leakage::none("pixels");
        let is_own = |group: u8| usize::from(group) < self.own_groups;
        for (first, members) in copies {
            for &copy in &members[1..] {
                sets.join(*first, copy);
            }
            let near_kinds = neighbours.get(first).map_or(&[][..], Vec::as_slice);
            if members.len() == 1 && near_kinds.is_empty() {
                continue;
            }
            // How often each (split, label) occurs among the equal ones, and whether among the near.
            let mut equal: BTreeMap<(u8, u32), u64> = BTreeMap::new();
            for &at in members {
                let image = &self.images[at as usize];
                *equal.entry((image.group, image.label)).or_default() += 1;
            }
            let mut close: BTreeMap<(u8, u32), u64> = BTreeMap::new();
            for at in near_kinds.iter().flat_map(|kind| &copies[kind]) {
                let image = &self.images[*at as usize];
                *close.entry((image.group, image.label)).or_default() += 1;
            }
            let mut earlier_own = false;
            for &at in members {
                let image = &self.images[at as usize];
                if !is_own(image.group) {
                    continue;
                }
                out.duplicates += u64::from(earlier_own);
                earlier_own = true;
                out.near_duplicates += u64::from(!close.is_empty());
                let other_label = |kinds: &BTreeMap<(u8, u32), u64>| {
                    kinds
                        .keys()
                        .any(|&(group, label)| label != image.label && is_own(group))
                };
                out.label_conflicts += u64::from(other_label(&equal) || other_label(&close));
                let in_group = |kinds: &BTreeMap<(u8, u32), u64>, group: u8| -> u64 {
                    let of_group = kinds.iter().filter(|((of, _), _)| *of == group);
                    of_group.map(|(_, count)| count).sum()
                };
                let (mut leaked, mut leaked_exact) = (false, false);
                for group in 0..self.groups.len() as u8 {
                    let itself = u64::from(group == image.group);
                    let exact = in_group(&equal, group) > itself;
                    let near = in_group(&close, group) > 0;
                    if exact || near {
                        let counts = between.entry((image.group, group)).or_default();
                        counts.0 += u64::from(exact);
                        counts.1 += u64::from(!exact);
                        let evaluates = self.groups[usize::from(image.group)] != "train";
                        let trained = self.groups[usize::from(group)] == "train" || !is_own(group);
                        leaked |= evaluates && trained;
                        leaked_exact |= evaluates && trained && exact;
                    }
                }
                out.leaked += u64::from(leaked);
                out.leaked_exact += u64::from(leaked_exact);
            }
        }
        (out.clusters, out.largest_cluster) = sets.sizes();
        out.between = between
            .into_iter()
            .map(|((of, inside), (exact, near))| Between {
                images_of: self.groups[usize::from(of)].clone(),
                found_in: self.groups[usize::from(inside)].clone(),
                exact,
                near,
            })
            .collect();
        out
    }

    fn describe(&self, edge: &Edge) -> DuplicatePair {
        DuplicatePair {
            exact: edge.exact,
            distance: edge.distance,
            difference: edge.difference,
            images: [edge.a, edge.b].map(|at| {
                let image = &self.images[at as usize];
                let reader = self.readers[usize::from(image.group)];
                Which {
                    split: self.groups[usize::from(image.group)].clone(),
                    id: reader.row(image.row as usize).id,
                    path: reader.path(image.row as usize).to_owned(),
                    label: image.label,
                }
            }),
        }
    }

    fn show(&self, edge: &Edge) -> Result<Pair> {
        let mut decoder = Decoder::default();
        let mut small = |at: u32| {
            let image = &self.images[at as usize];
            let reader = self.readers[usize::from(image.group)];
            Thumbnail::new(reader.rgb(image.row as usize, &mut decoder)?, THUMBNAIL)
        };
        Ok(Pair {
            pair: self.describe(edge),
            thumbnails: [small(edge.a)?, small(edge.b)?],
        })
    }
}

impl Leakage {
    fn none(by: &'static str) -> Self {
        Self {
            by,
            leaked: 0,
            leaked_exact: 0,
            duplicates: 0,
            near_duplicates: 0,
            label_conflicts: 0,
            clusters: 0,
            largest_cluster: 0,
            flat: 0,
            distance: None,
            crowded_buckets: 0,
            between: Vec::new(),
            pairs: Vec::new(),
            pairs_in_all: 0,
            all_pairs: Vec::new(),
        }
    }
}

/// Duplicates of lists: the same path twice.
pub fn by_path(lists: &[SplitList], names_splits: bool) -> Leakage {
    let mut out = Leakage::none("path");
    let name = |list: &SplitList| match names_splits {
        true => list.split.to_string(),
        false => "all".to_owned(),
    };
    // The first image of each path.
    let mut first: HashMap<(&std::path::Path, &str), (usize, usize)> = HashMap::new();
    let mut between: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for (group, list) in lists.iter().enumerate() {
        for (at, item) in list.items.iter().enumerate() {
            let key = (list.root.as_path(), item.path.as_str());
            let &mut (of, row) = first.entry(key).or_insert((group, at));
            if (of, row) == (group, at) {
                continue;
            }
            out.duplicates += 1;
            *between.entry((group, of)).or_default() += 1;
            let original = &lists[of].items[row];
            out.label_conflicts += u64::from(original.label != item.label);
            let trained = lists[of].split == crate::split::Split::Train;
            out.leaked += u64::from(group != of && trained);
            out.pairs_in_all += 1;
            let which = |group: usize, row: usize| Which {
                split: name(&lists[group]),
                id: row as u64,
                path: lists[group].items[row].path.clone(),
                label: lists[group].items[row].label,
            };
            out.all_pairs.push(DuplicatePair {
                exact: true,
                distance: 0,
                difference: 0.0,
                images: [which(of, row), which(group, at)],
            });
        }
    }
    out.leaked_exact = out.leaked;
    let crosses = |pair: &DuplicatePair| pair.images[0].split == pair.images[1].split;
    out.all_pairs.sort_by_key(crosses);
    out.pairs = out.all_pairs.iter().take(LISTED).cloned().collect();
    out.between = between
        .into_iter()
        .map(|((of, inside), exact)| Between {
            images_of: name(&lists[of]),
            found_in: name(&lists[inside]),
            exact,
            near: 0,
        })
        .collect();
    out
}

/// Which images hang together (union-find with path halving).
struct Sets {
    parents: Vec<u32>,
}

impl Sets {
    fn new(len: usize) -> Self {
        Self {
            parents: (0..len as u32).collect(),
        }
    }

    fn root(&mut self, mut at: u32) -> u32 {
        while self.parents[at as usize] != at {
            let above = self.parents[at as usize];
            self.parents[at as usize] = self.parents[above as usize];
            at = self.parents[at as usize];
        }
        at
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b) as usize] = a.min(b);
    }

    /// How many sets have more than one image, and the size of the largest of them.
    fn sizes(&mut self) -> (u64, u64) {
        let mut sizes: HashMap<u32, u64> = HashMap::new();
        for at in 0..self.parents.len() as u32 {
            *sizes.entry(self.root(at)).or_default() += 1;
        }
        let groups = sizes.values().filter(|&&size| size > 1);
        (
            groups.clone().count() as u64,
            groups.max().copied().unwrap_or(0),
        )
    }
}

// The index's bound holds for every caller.
const _: () = assert!(DISTANCE <= near::MAX_DISTANCE);
