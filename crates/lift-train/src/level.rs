//! Classes joined to a rank above them: species judged as genera, families, ...
//!
//! The score of a group is that of its best class, so that the predicted group is the one of the predicted class; its
//! probability is the sum over its classes.

use std::{collections::BTreeSet, path::PathBuf};

use lift_shards::{ClassNames, ranks::Ranks};
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};

/// A rank, and the file that says which class has which.
#[derive(Clone, Debug)]
pub struct Level {
    /// One of [`lift_shards::ranks::RANKS`].
    pub rank: String,
    /// A `categories.json` as iNaturalist 2018 has it.
    pub taxonomy: PathBuf,
}

/// The groups that classes are joined to, sorted by name.
#[derive(Clone, Debug)]
pub struct Groups {
    level: String,
    names: ClassNames,
    /// The group of each class.
    of: Vec<i64>,
}

impl Groups {
    /// The groups of these classes at a level.
    ///
    /// # Errors
    /// When the taxonomy cannot be read, or does not give the rank of a class.
    pub fn read(level: &Level, classes: &ClassNames) -> Result<Self> {
        let ranks = Ranks::read(&level.taxonomy, classes).map_err(Error::Config)?;
        Self::new(&ranks, &level.rank, classes)
            .map_err(|reason| Error::Config(format!("{}: {reason}", level.taxonomy.display())))
    }

    fn new(ranks: &Ranks, level: &str, classes: &ClassNames) -> std::result::Result<Self, String> {
        let group = |(label, name): (usize, &String)| {
            ranks.rank(label, level).ok_or_else(|| {
                format!(
                    "class {label} ({name}) has no {level} above it\nhint: use a --level above the classes' own"
                )
            })
        };
        let of_class: Vec<&str> = classes
            .as_slice()
            .iter()
            .enumerate()
            .map(group)
            .collect::<std::result::Result<_, _>>()?;
        let sorted: Vec<&str> = of_class
            .iter()
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let place = |name: &&str| sorted.binary_search(name).expect("it is one of them") as i64;
        let names = ClassNames::new(sorted.iter().map(|&name| name.to_owned()).collect());
        Ok(Self {
            level: level.into(),
            names: names.map_err(|e| e.to_string())?,
            of: of_class.iter().map(place).collect(),
        })
    }

    /// The rank.
    pub fn level(&self) -> &str {
        &self.level
    }

    /// Names of the groups, sorted; their places are the groups' labels.
    pub fn names(&self) -> &ClassNames {
        &self.names
    }

    /// Number of groups.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Groups of classes.
    pub fn labels(&self, classes: &[i64]) -> Vec<i64> {
        classes
            .iter()
            .map(|&label| self.of[label as usize])
            .collect()
    }

    /// Sums over the classes of each group.
    pub fn sums(&self, counts: &[u64]) -> Vec<u64> {
        let mut sums = vec![0; self.count()];
        for (&group, count) in self.of.iter().zip(counts) {
            sums[group as usize] += count;
        }
        sums
    }

    /// The groups on a device, where they stay for all batches.
    pub fn on(&self, device: Device) -> DeviceGroups {
        DeviceGroups {
            count: self.count() as i64,
            members: self.members().to_device(device),
            of: Tensor::from_slice(&self.of).to_device(device),
        }
    }

    /// The classes of each group, one group after the other, filled up to the widest with the number of classes.
    fn members(&self) -> Tensor {
        let mut groups: Vec<Vec<i64>> = vec![Vec::new(); self.count()];
        for (class, &group) in self.of.iter().enumerate() {
            groups[group as usize].push(class as i64);
        }
        let widest = groups.iter().map(Vec::len).max().unwrap_or(0);
        for group in &mut groups {
            group.resize(widest, self.of.len() as i64);
        }
        Tensor::from_slice(&groups.concat())
    }
}

/// Groups on a device.
#[derive(Debug)]
pub struct DeviceGroups {
    count: i64,
    members: Tensor,
    /// The group of each class.
    of: Tensor,
}

impl DeviceGroups {
    /// Labels (b) of classes -> of groups.
    pub fn labels(&self, classes: &Tensor) -> Tensor {
        self.of.index_select(0, classes)
    }

    /// Logits of classes (b, K) -> the best logit of each group and its probability (b, G).
    pub fn scores(&self, logits: &Tensor) -> (Tensor, Tensor) {
        let images = logits.size()[0];
        // One column more stands for the places that a group does not fill.
        let by_group = |values: &Tensor, filling: f64| {
            let filling = Tensor::full([images, 1], filling, (Kind::Float, logits.device()));
            Tensor::cat(&[values.to_kind(Kind::Float), filling], 1)
                .index_select(1, &self.members)
                .view([images, self.count, -1])
        };
        let shares = by_group(&logits.softmax(1, Kind::Float), 0.0);
        (
            by_group(logits, f64::NEG_INFINITY).amax([2i64].as_slice(), false),
            shares.sum_dim_intlist([2i64].as_slice(), false, Kind::Float),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"[
        {"id": 0, "name": "Vespa crabro", "genus": "Vespa", "family": "Vespidae", "class": "Insecta"},
        {"id": 1, "name": "Apis mellifera", "genus": "Apis", "family": "Apidae", "class": "Insecta"},
        {"id": 2, "name": "Bombus terrestris", "genus": "Bombus", "family": "Apidae", "class": "Insecta"}
    ]"#;

    fn groups(level: &str) -> std::result::Result<Groups, String> {
        let names = ["Vespa crabro", "Apis mellifera", "Bombus terrestris"];
        let classes = ClassNames::new(names.map(str::to_owned).to_vec()).unwrap();
        let ranks = Ranks::of_json(JSON, &classes).unwrap();
        Groups::new(&ranks, level, &classes)
    }

    #[test]
    fn families_by_hand() {
        let families = groups("family").unwrap();
        assert_eq!(families.names().as_slice(), ["Apidae", "Vespidae"]);
        assert_eq!(families.labels(&[0, 1, 2, 1]), [1, 0, 0, 0]);
        assert_eq!(families.sums(&[5, 7, 100]), [107, 5]);
        // Softmax of ln 1, ln 2, ln 5 is 1/8, 2/8, 5/8.
        let logits = Tensor::from_slice(&[1.0f32, 2.0, 5.0]).log().view([1, 3]);
        let on_device = families.on(Device::Cpu);
        let labels = on_device.labels(&Tensor::from_slice(&[0i64, 1, 2, 1]));
        assert_eq!(Vec::<i64>::try_from(labels).unwrap(), [1, 0, 0, 0]);
        let (scores, shares) = on_device.scores(&logits);
        let close = |found: Tensor, expected: [f32; 2]| {
            let expected = Tensor::from_slice(&expected).view([1, 2]);
            assert!((found - expected).abs().max().double_value(&[]) < 1e-6);
        };
        close(scores, [5.0f32.ln(), 0.0]);
        close(shares, [7.0 / 8.0, 1.0 / 8.0]);
    }

    #[test]
    fn a_rank_that_is_not_given_is_refused() {
        let refused = groups("kingdom").unwrap_err();
        assert!(
            refused.starts_with("class 0 (Vespa crabro) has no kingdom above it"),
            "{refused}"
        );
    }
}
