//! What a data set holds twice: equal pixels, near duplicates, and what of it crosses splits or labels.
//!
//! Equal: the hash of the decoded pixels. Near: perceptual hashes within a distance, found through an index
//! ([`near`]), and then the coarse colours compared ([`difference`]). Invariant: an image that is equal to
//! an earlier one stands for nothing of its own in the search, so that thousands of equal images cost no
//! more than one; images of nearly one colour have no perceptual hash and are counted, not compared; of
//! images that share one hash each is compared with at most [`MOST_OF_ONE_HASH`] others; pairs are counted,
//! and the first [`MOST_PAIRS`] of them kept.

mod found;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use serde::Serialize;

use super::measure::difference;
use super::near::{self, NearIndex};
use super::quality::Image;
use crate::error::Result;
use crate::source::SplitList;
use found::{Edge, FoundPairs, Rank, Seen};
use lift_image::decode::Decoder;
use lift_page::Thumbnail;
use lift_shards::classes::{ClassNames, told_apart};
use lift_shards::shard::ShardReader;
use lift_shards::split::Split;

/// The distance of perceptual hashes that is searched by default.
pub const DISTANCE: u32 = 7;
/// Near duplicates' coarse colours differ by less: root mean square, grey levels.
pub const MOST_DIFFERENCE: f64 = 8.0;
/// The most images that an image of the same hash, or of a hash near by, is compared with.
pub const MOST_OF_ONE_HASH: usize = 64;
/// Pairs that are kept at all: `--flags` writes them.
pub const MOST_PAIRS: usize = 100_000;
/// Pairs that a thread gathers before it adds them to the others.
const GATHERED: usize = 4096;
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
    /// the data set that is compared with; and those of its validation and test splits that are in this
    /// training split.
    pub leaked: u64,
    /// Those of them that are images of the data set that is compared with.
    pub leaked_compared: u64,
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
    /// For each two splits, one of them the data set's own, how many images of the first have a duplicate
    /// in the second.
    pub between: Vec<Between>,
    /// The pairs: those that cross splits or labels first, then the nearest.
    pub pairs: Vec<DuplicatePair>,
    /// How many pairs there are in all.
    pub pairs_in_all: u64,
    /// The first [`MOST_PAIRS`] pairs. Not in the JSON: `--flags` writes them.
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

/// A pair of duplicates with its images.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// What is known of it.
    pub pair: DuplicatePair,
    /// The two images.
    pub thumbnails: [Thumbnail; 2],
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
    /// Its class, in its own data set.
    pub label: u32,
    /// That class's name, with the label where several classes bear it.
    pub class: String,
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

impl Search<'_> {
    /// Finds the duplicates; the second value has the pairs that are worth showing.
    pub fn run(&self) -> Result<(Leakage, Vec<Pair>)> {
        let names: Vec<Vec<String>> = self
            .readers
            .iter()
            .map(|reader| told_apart(reader.manifest().class_names.as_slice()))
            .collect();
        let copies = self.copies();
        let mut found = FoundPairs::new(self.images.len(), MOST_PAIRS);
        // Each copy with the first of its kind.
        for members in copies.values() {
            for &b in &members[1..] {
                let edge = Edge {
                    a: members[0],
                    b,
                    distance: 0,
                    difference: 0.0,
                    exact: true,
                };
                found.add(self.rank(&edge, &names), edge);
            }
        }
        let (mut found, crowded_buckets) = self.near(&copies, &names, found);
        let judged = self.judge(&copies, &found.near);
        let (clusters, largest_cluster) = found.sets.sizes();
        let first = found.take_first();
        let pairs: Vec<DuplicatePair> = first
            .iter()
            .map(|edge| self.describe(edge, &names))
            .collect();
        let shown = first.iter().zip(&pairs).take(SHOWN);
        let shown = shown.map(|(edge, pair)| self.show(edge, pair));
        let shown = shown.collect::<Result<_>>()?;
        let leakage = Leakage {
            flat: self
                .images
                .iter()
                .filter(|image| image.phash.is_none())
                .count() as u64,
            clusters,
            largest_cluster,
            distance: Some(self.distance),
            crowded_buckets,
            pairs: pairs.iter().take(LISTED).cloned().collect(),
            pairs_in_all: found.pairs,
            all_pairs: pairs,
            ..judged
        };
        Ok((leakage, shown))
    }

    fn is_own(&self, group: u8) -> bool {
        usize::from(group) < self.own_groups
    }

    fn split(&self, group: u8) -> Split {
        self.readers[usize::from(group)].manifest().split
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

    /// Adds the near pairs of images that are first of their kind to what was found.
    fn near(
        &self,
        copies: &BTreeMap<u32, Vec<u32>>,
        names: &[Vec<String>],
        found: FoundPairs,
    ) -> (FoundPairs, usize) {
        let mut by_hash: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        let mut kinds = vec![Seen::NOTHING; self.images.len()];
        for (&first, members) in copies {
            if let Some(hash) = self.images[first as usize].phash {
                by_hash.entry(hash).or_default().push(first);
            }
            for &at in members {
                let image = &self.images[at as usize];
                let own_label = self.is_own(image.group).then_some(image.label);
                kinds[first as usize].add(Seen::image(image.group, own_label));
            }
        }
        let hashes: Vec<u64> = by_hash.keys().copied().collect();
        let members: Vec<&Vec<u32>> = by_hash.values().collect();
        let index = NearIndex::new(&hashes, self.distance);
        let found = Mutex::new(found);
        // In whatever order threads come here: what is found does not depend on it.
        let add = |edges: &mut Vec<Edge>| {
            let ranked: Vec<(Rank, Edge)> = edges
                .drain(..)
                .map(|edge| (self.rank(&edge, names), edge))
                .collect();
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            for (rank, edge) in ranked {
                let (a, b) = (edge.a as usize, edge.b as usize);
                found.near[a].add(kinds[b]);
                found.near[b].add(kinds[a]);
                found.add(rank, edge);
            }
        };
        let of_hash = |i: u32| {
            let mut edges = Vec::new();
            let left = members[i as usize];
            for (j, distance) in std::iter::once((i, 0)).chain(index.after(i)) {
                let right = members[j as usize];
                for (at, &a) in left.iter().enumerate() {
                    // Within one hash: those after it. They are compared to a bounded number.
                    let from = if i == j { at + 1 } else { 0 };
                    let others = right.iter().skip(from).take(MOST_OF_ONE_HASH);
                    edges.extend(others.filter_map(|&b| self.compare(a, b, distance)));
                    if edges.len() >= GATHERED {
                        add(&mut edges);
                    }
                }
            }
            if !edges.is_empty() {
                add(&mut edges);
            }
        };
        (0..hashes.len() as u32).into_par_iter().for_each(of_hash);
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        (found, index.crowded_buckets())
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

    fn rank(&self, edge: &Edge, names: &[Vec<String>]) -> Rank {
        let (a, b) = (&self.images[edge.a as usize], &self.images[edge.b as usize]);
        // Labels mean the same within the data set; another one's classes are known by their names.
        let same_class = if self.is_own(a.group) && self.is_own(b.group) {
            a.label == b.label
        } else {
            name(names, a) == name(names, b)
        };
        (
            a.group == b.group,
            same_class,
            !edge.exact,
            edge.distance,
            edge.a,
            edge.b,
        )
    }

    /// Counts images: an image's duplicates are its copies, the near ones and their copies.
    fn judge(&self, copies: &BTreeMap<u32, Vec<u32>>, near: &[Seen]) -> Leakage {
        let mut between: BTreeMap<(u8, u8), (u64, u64)> = BTreeMap::new();
        let mut out = Leakage::none("pixels");
        for (first, members) in copies {
            let close = near[*first as usize];
            if members.len() == 1 && close.is_empty() {
                continue;
            }
            let mut equal = Seen::NOTHING;
            let mut of_group: BTreeMap<u8, u64> = BTreeMap::new();
            for &at in members {
                let image = &self.images[at as usize];
                let own_label = self.is_own(image.group).then_some(image.label);
                equal.add(Seen::image(image.group, own_label));
                *of_group.entry(image.group).or_default() += 1;
            }
            let mut earlier_own = false;
            for &at in members {
                let image = &self.images[at as usize];
                let is_own = self.is_own(image.group);
                if is_own {
                    out.duplicates += u64::from(earlier_own);
                    earlier_own = true;
                    out.near_duplicates += u64::from(!close.is_empty());
                    let conflicts =
                        equal.has_other_label(image.label) || close.has_other_label(image.label);
                    out.label_conflicts += u64::from(conflicts);
                }
                let (mut leaked, mut leaked_exact) = (false, false);
                for group in 0..self.groups.len() as u8 {
                    // What another data set holds twice by itself is not looked for.
                    if !is_own && !self.is_own(group) {
                        continue;
                    }
                    let itself = u64::from(group == image.group);
                    let exact = of_group.get(&group).copied().unwrap_or(0) > itself;
                    let near = close.has(group);
                    if exact || near {
                        let counts = between.entry((image.group, group)).or_default();
                        counts.0 += u64::from(exact);
                        counts.1 += u64::from(!exact);
                        let evaluates = self.split(image.group) != Split::Train;
                        let trained = self.split(group) == Split::Train || !self.is_own(group);
                        leaked |= evaluates && trained;
                        leaked_exact |= evaluates && trained && exact;
                    }
                }
                out.leaked += u64::from(leaked);
                out.leaked_exact += u64::from(leaked_exact);
                out.leaked_compared += u64::from(leaked && !is_own);
            }
        }
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

    fn describe(&self, edge: &Edge, names: &[Vec<String>]) -> DuplicatePair {
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
                    class: name(names, image).to_owned(),
                }
            }),
        }
    }

    fn show(&self, edge: &Edge, pair: &DuplicatePair) -> Result<Pair> {
        let mut decoder = Decoder::default();
        let mut small = |at: u32| -> Result<Thumbnail> {
            let image = &self.images[at as usize];
            let reader = self.readers[usize::from(image.group)];
            let image = reader.rgb(image.row as usize, &mut decoder)?;
            Ok(Thumbnail::new(image, THUMBNAIL)?)
        };
        Ok(Pair {
            pair: pair.clone(),
            thumbnails: [small(edge.a)?, small(edge.b)?],
        })
    }
}

/// The name of an image's class in its own data set.
fn name<'a>(names: &'a [Vec<String>], image: &Image) -> &'a str {
    &names[usize::from(image.group)][image.label as usize]
}

impl Leakage {
    fn none(by: &'static str) -> Self {
        Self {
            by,
            leaked: 0,
            leaked_compared: 0,
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
pub fn by_path(lists: &[SplitList], names_splits: bool, class_names: &ClassNames) -> Leakage {
    let names = told_apart(class_names.as_slice());
    let mut out = Leakage::none("path");
    let split_name = |list: &SplitList| {
        if names_splits {
            list.split.to_string()
        } else {
            "all".to_owned()
        }
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
            let trained = lists[of].split == Split::Train;
            out.leaked += u64::from(group != of && trained);
            out.pairs_in_all += 1;
            let which = |group: usize, row: usize| Which {
                split: split_name(&lists[group]),
                id: row as u64,
                path: lists[group].items[row].path.clone(),
                label: lists[group].items[row].label,
                class: names[lists[group].items[row].label as usize].clone(),
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
            images_of: split_name(&lists[of]),
            found_in: split_name(&lists[inside]),
            exact,
            near: 0,
        })
        .collect();
    out
}

// The index's bound holds for every caller.
const _: () = assert!(DISTANCE <= near::MAX_DISTANCE);
