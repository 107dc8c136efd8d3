//! What was typed for `--tuner` and `--layers`: modules with their sizes, and blocks.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{AftPlace, LoraTarget, TunerKind};

/// One module, and its size where that was given (`lora:8`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which module.
    pub kind: TunerKind,
    /// Bottleneck dimension, rank or number of tokens; automatic without.
    pub size: Option<i64>,
}

/// The modules of a run (`adaptformer,lora:8`), or none: the classifier alone is tuned (`none`).
///
/// Invariant: in the order of [`TunerKind`], each once; not two that tune the same tensors of the blocks.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tuners(Vec<Choice>);

impl Tuners {
    /// The modules, in the order they are put into a block.
    pub fn choices(&self) -> &[Choice] {
        &self.0
    }
}

impl From<TunerKind> for Tuners {
    fn from(kind: TunerKind) -> Self {
        Self(vec![Choice { kind, size: None }])
    }
}

impl FromStr for Tuners {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::default());
        }
        let mut choices: Vec<Choice> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        choices.sort_by_key(|choice| choice.kind);
        let kinds: Vec<TunerKind> = choices.iter().map(|choice| choice.kind).collect();
        if let Some(pair) = kinds.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("{} is given twice", pair[0]));
        }
        let own: Vec<TunerKind> = kinds
            .iter()
            .copied()
            .filter(|k| k.tunes_own_tensors())
            .collect();
        let prompts = kinds.contains(&TunerKind::VptShallow) && kinds.contains(&TunerKind::VptDeep);
        match own.as_slice() {
            [first, second, ..] if own != [TunerKind::Bitfit, TunerKind::LayerNorm] => Err(
                format!("{first} and {second} tune the same tensors\nhint: choose one of them"),
            ),
            _ if prompts => {
                Err("vpt-shallow and vpt-deep exclude each other\nhint: choose one of them".into())
            }
            _ => Ok(Self(choices)),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, size) = match text.split_once(':') {
            Some((name, size)) => (name, Some(size)),
            None => (text, None),
        };
        let kind = TunerKind::ALL
            .into_iter()
            .find(|kind| kind.to_string() == name);
        let kind = kind.ok_or_else(|| {
            let known: Vec<String> = TunerKind::ALL.iter().map(ToString::to_string).collect();
            format!("{name:?} is not a tuner; use none or {}", known.join(", "))
        })?;
        let size = size.map(|size| match size.parse::<i64>() {
            Ok(_) if !kind.has_size() => Err(format!("{kind} has no size, and {size} was given")),
            Ok(size) if (1..=65536).contains(&size) => Ok(size),
            _ => Err(format!("{text:?}: a size is a number from 1 to 65536")),
        });
        Ok(Self {
            kind,
            size: size.transpose()?,
        })
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        self.size.map_or(Ok(()), |size| write!(f, ":{size}"))
    }
}

impl fmt::Display for Tuners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(","))
    }
}

/// The blocks that get modules: `all`, `last:2` or `0,3,5`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Layers {
    /// Every block.
    #[default]
    All,
    /// The last k.
    Last(usize),
    /// These, from 0, ascending.
    Only(Vec<usize>),
}

impl Layers {
    /// The blocks of a tower that has this many, in order.
    ///
    /// # Errors
    /// When the tower has fewer.
    pub fn of(&self, blocks: usize) -> Result<Vec<usize>, String> {
        let fewer = |asked: String| format!("--layers {self}: {asked}, the model has {blocks}");
        match self {
            Self::All => Ok((0..blocks).collect()),
            Self::Last(k) if *k > blocks => Err(fewer(format!("{k} blocks"))),
            Self::Last(k) => Ok((blocks - k..blocks).collect()),
            Self::Only(layers) => match layers.last() {
                Some(last) if *last >= blocks => Err(fewer(format!("block {last} counted from 0"))),
                _ => Ok(layers.clone()),
            },
        }
    }
}

impl FromStr for Layers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no choice of layers; use all, last:2 or 0,3,5");
        if text == "all" {
            return Ok(Self::All);
        }
        if let Some(k) = text.strip_prefix("last:") {
            let k = k.parse().ok().filter(|&k| k > 0);
            return k.map(Self::Last).ok_or_else(bad);
        }
        let mut layers: Vec<usize> = text
            .split(',')
            .map(|layer| layer.trim().parse().map_err(|_| bad()))
            .collect::<Result<_, _>>()?;
        layers.sort_unstable();
        layers.dedup();
        Ok(Self::Only(layers))
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Last(k) => write!(f, "last:{k}"),
            Self::Only(layers) => {
                let all: Vec<String> = layers.iter().map(ToString::to_string).collect();
                f.write_str(&all.join(","))
            }
        }
    }
}

macro_rules! as_string {
    ($($name:ty),*) => {$(
        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )*};
}
as_string!(Tuners, Layers);

/// All that makes fresh modules, besides the tower and the number of classes.
#[derive(Clone, Debug, PartialEq)]
pub struct TunerOptions {
    /// Which modules.
    pub tuners: Tuners,
    /// In which blocks.
    pub layers: Layers,
    /// Size of the modules for which none was given; automatic without.
    pub size: Option<i64>,
    /// The projections that LoRA is put on.
    pub lora_targets: Vec<LoraTarget>,
    /// The linears that AFT takes entries of.
    pub aft_place: AftPlace,
    /// The fraction that AFT takes; automatic without.
    pub aft_ratio: Option<f64>,
    /// Seed of initial values and AFT's masks.
    pub seed: u64,
}

impl TunerOptions {
    /// The size of a part between the towers: its own, that for all, or the usual one.
    pub fn size_of(&self, choice: &Choice) -> i64 {
        let usual = || choice.kind.automatic_size(0, 0);
        choice.size.or(self.size).or_else(usual).unwrap_or(1)
    }

    /// These modules in all blocks, with automatic sizes and seed 0.
    pub fn new(tuners: Tuners) -> Self {
        Self {
            tuners,
            layers: Layers::All,
            size: None,
            lora_targets: LoraTarget::usual(),
            aft_place: AftPlace::All,
            aft_ratio: None,
            seed: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_read_sorted_and_written_back() {
        for (typed, written) in [
            ("none", "none"),
            ("lora", "lora"),
            ("adaptformer,lora:8", "lora:8,adaptformer"),
            ("bitfit,layer-norm", "bitfit,layer-norm"),
            ("vpt-deep:3", "vpt-deep:3"),
        ] {
            assert_eq!(typed.parse::<Tuners>().unwrap().to_string(), written);
        }
        for (typed, message) in [
            ("lora,lora", "lora is given twice"),
            ("", "\"\" is not a tuner"),
            ("lora,none", "\"none\" is not a tuner"),
            ("full,bitfit", "full and bitfit tune the same tensors"),
            ("full:3", "full has no size"),
            ("lora:0", "a size is a number from 1"),
            ("vpt-deep,vpt-shallow", "exclude each other"),
        ] {
            let refused = typed.parse::<Tuners>().unwrap_err();
            assert!(refused.contains(message), "{typed}: {refused}");
        }
    }

    #[test]
    fn layers_by_hand() {
        let of = |text: &str| text.parse::<Layers>().and_then(|layers| layers.of(6));
        assert_eq!(of("all").unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(of("last:2").unwrap(), [4, 5]);
        assert_eq!(of("5,0,3,0").unwrap(), [0, 3, 5]);
        for (text, message) in [
            ("last:7", "--layers last:7: 7 blocks, the model has 6"),
            ("6", "--layers 6: block 6 counted from 0, the model has 6"),
            ("last:0", "\"last:0\" is no choice of layers"),
            ("first", "is no choice of layers"),
        ] {
            let refused = of(text).unwrap_err();
            assert!(refused.contains(message), "{refused}");
        }
    }
}
