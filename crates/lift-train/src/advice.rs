//! What to begin with on a long-tailed data set, and why: each reason was measured here or is cited, with its place.
//!
//! It looks at class counts and at the tower's shape, not at images, so that it can say what others found on data like this
//! and not what will come out. The choices are those of the preset `lift+`, which it takes them from. Invariant: the
//! command that it prints gives a run with exactly these settings.

use std::path::Path;

use lift_page::{
    escape::visible,
    number::{counted, grouped},
};
use lift_shards::{manifest::Manifest, split::Band};
use serde::Serialize;

use crate::{
    loss::LossKind,
    preset::{Preset, Usual},
    tuner::TunerKind,
};

const LIFT: &str = "LIFT, arXiv 2309.10019";
const LIFT_PLUS: &str = "LIFT+, arXiv 2504.13282";
const LT_SOUPS: &str = "LT-Soups, arXiv 2511.10683, abstract";
const MEASURED: &str = "docs/methods.md (one run each on the demo's data and model)";

/// What is known of the training images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counts {
    /// The data set's name.
    pub dataset: String,
    /// Training images.
    pub images: u64,
    /// Number of classes.
    pub classes: usize,
    /// Images of the largest class.
    pub largest: u64,
    /// Images of the smallest class that has some.
    pub smallest: u64,
    /// Classes without training images.
    pub empty: usize,
    /// Largest over smallest.
    pub imbalance_ratio: f64,
    /// Classes with many, medium and few images.
    pub bands: [usize; 3],
    /// Share of the classes that have many images.
    pub head_share: f64,
    /// Mean number of images a class.
    pub images_a_class: f64,
}

impl Counts {
    /// Of the training split.
    pub fn of(manifest: &Manifest) -> Self {
        let counts = &manifest.class_counts;
        let some = counts.iter().copied().filter(|&n| n > 0);
        let (largest, smallest) = (some.clone().max().unwrap_or(0), some.min().unwrap_or(0));
        let band = |band: Band| {
            let of = counts.iter().filter(|&&n| manifest.bands.band(n) == band);
            of.count()
        };
        let bands = Band::ALL.map(band);
        let classes = counts.len();
        Self {
            dataset: manifest.dataset.clone(),
            images: manifest.rows,
            classes,
            largest,
            smallest,
            empty: counts.iter().filter(|&&n| n == 0).count(),
            imbalance_ratio: largest as f64 / smallest.max(1) as f64,
            bands,
            head_share: bands[0] as f64 / classes.max(1) as f64,
            images_a_class: manifest.rows as f64 / classes.max(1) as f64,
        }
    }
}

/// What is known of the model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tower {
    /// Blocks.
    pub layers: usize,
    /// Width of the class token.
    pub width: i64,
    /// Parameters of the image tower.
    pub parameters: u64,
    /// Parameters of the modules that are advised, in all blocks.
    pub modules: u64,
    /// Whether class texts give the classifier its first rows.
    pub has_texts: bool,
}

/// One choice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// Which setting.
    pub setting: &'static str,
    /// Its value.
    pub value: String,
    /// Why.
    pub reason: String,
    /// Where that is from.
    pub source: String,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// `lift-advice/1`.
    pub format: &'static str,
    /// The training images.
    pub counts: Counts,
    /// The model.
    pub tower: Tower,
    /// One after the other.
    pub choices: Vec<Choice>,
    /// Commands, one after the other, each as its words.
    pub commands: Vec<Vec<String>>,
}

/// Where things lie, for the commands.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The shard folder.
    pub shards: &'a Path,
    /// The model.
    pub model: &'a Path,
    /// A classifier file that is there already.
    pub head: Option<&'a Path>,
    /// Whether the shards have a split to choose on.
    pub has_val: bool,
}

/// The module that is advised, whatever the data.
pub const TUNER: TunerKind = TunerKind::Adaptformer;

/// What to begin with.
pub fn advise(counts: Counts, tower: Tower, places: Places) -> Advice {
    let usual = Preset::LiftPlus.values(Some(&counts.dataset));
    let loss = match counts.empty {
        0 => LossKind::La,
        _ => LossKind::Ce,
    };
    let choices = vec![
        tuner(),
        size(&counts, &tower),
        share(&tower),
        loss_choice(&counts, loss),
        init(&tower),
        epochs(&counts, &usual),
        balance(&counts),
        afterwards(places),
    ];
    Advice {
        format: "lift-advice/1",
        commands: commands(&tower, loss, places),
        counts,
        tower,
        choices,
    }
}

fn tuner() -> Choice {
    Choice {
        setting: "tuner",
        value: TUNER.to_string(),
        reason: "the papers' module; of the light ones in the blocks it had the most of the rare classes right here (few 38.2, the classifier alone 33.0; all of this tiny tower tuned, 42.5)".into(),
        source: format!("{LIFT_PLUS}; {MEASURED}"),
    }
}

fn size(counts: &Counts, tower: &Tower) -> Choice {
    let size = TUNER.automatic_size(counts.classes, tower.layers);
    Choice {
        setting: "size",
        value: size.unwrap_or(1).to_string(),
        reason: format!(
            "the largest power of two not above K / (2 L) = {} / (2 x {}), and at least 1: modules about as large as the classifier; automatic",
            counts.classes, tower.layers
        ),
        source: format!("{LIFT}, section 4.3"),
    }
}

fn share(tower: &Tower) -> Choice {
    let share = 100.0 * tower.modules as f64 / tower.parameters.max(1) as f64;
    let beside = if share < 1.0 {
        "under the 1 % that the papers tune"
    } else {
        "above the 1 % that the papers tune, since the tower is small for so many classes"
    };
    Choice {
        setting: "parameters",
        value: format!("{share:.2} % of the tower"),
        reason: format!(
            "{} of {}, {beside}; heavy tuning makes training and test images of a rare class unlike",
            grouped(tower.modules),
            grouped(tower.parameters)
        ),
        source: format!("{LIFT}, section 3; {LIFT_PLUS}, section III"),
    }
}

fn loss_choice(counts: &Counts, loss: LossKind) -> Choice {
    let (reason, source) = match loss {
        LossKind::La if counts.imbalance_ratio > 1.0 => (
            "the logits are adjusted by the classes' frequencies, tau 1; here after one epoch few 28.8 instead of 2.8 with ce, many 26.7 instead of 52.9 (as bs, which is the same)".to_owned(),
            format!("Menon et al. 2021, arXiv 2007.07314, section 3; {MEASURED}"),
        ),
        LossKind::La => (
            "classes are alike, so that it is cross entropy".to_owned(),
            "Menon et al. 2021, arXiv 2007.07314, section 3: log p is the same for all".to_owned(),
        ),
        _ => (
            format!(
                "{} without training images, whose frequency has no logarithm; la and the other losses that know counts need one image each: leave these classes out of the build, and use la",
                counted(counts.empty as u64, "class")
            ),
            "Menon et al. 2021, arXiv 2007.07314, section 3".to_owned(),
        ),
    };
    Choice {
        setting: "loss",
        value: loss.to_string(),
        reason,
        source,
    }
}

fn init(tower: &Tower) -> Choice {
    if tower.has_texts {
        return Choice {
            setting: "classifier",
            value: "from class texts".into(),
            reason: "here after one epoch few 28.8; from class means 24.0, linear probing 23.5, random rows 9.5".into(),
            source: format!("{LIFT_PLUS}; {MEASURED}"),
        };
    }
    Choice {
        setting: "classifier",
        value: "class-mean".into(),
        reason: "the model has no text tower; here after one epoch few 24.0, linear probing 23.5, random rows 9.5".into(),
        source: format!("{LIFT_PLUS}; {MEASURED}"),
    }
}

fn epochs(counts: &Counts, usual: &Usual) -> Choice {
    let steps = counts.images.div_ceil(usual.batch_size as u64) * usual.epochs as u64;
    Choice {
        setting: "epochs",
        value: usual.epochs.to_string(),
        reason: format!(
            "{} of {} images, learning rate {}; the papers take 5, and 15 on iNaturalist 2018 with its 8,142 classes of 54 images each",
            counted(steps, "step"),
            usual.batch_size,
            usual.lr
        ),
        source: LIFT_PLUS.into(),
    }
}

/// The share above which head classes are called the more ones; this program's choice.
const MANY: f64 = 0.5;

fn balance(counts: &Counts) -> Choice {
    let (value, reason) = if counts.head_share > MANY {
        (
            "compare with full tuning",
            "most classes have many images, where light tuning was found to lose against full tuning and soups: compare `--preset fft`, and `lift-train soup`",
        )
    } else {
        (
            "light tuning",
            "most classes do not have many images, where light tuning was found to do best",
        )
    };
    Choice {
        setting: "balance",
        value: value.into(),
        reason: format!("eta {:.2}: {reason}", counts.head_share),
        source: LT_SOUPS.into(),
    }
}

fn afterwards(places: Places) -> Choice {
    let reason = if places.has_val {
        "one number moves head against tail after training, chosen on val: `lift-train adjust RUN`"
    } else {
        "one number moves head against tail after training, chosen on val, which these shards lack: `lift-data build --holdout` makes it"
    };
    Choice {
        setting: "afterwards",
        value: "adjust".into(),
        reason: reason.into(),
        source: "Menon et al. 2021, arXiv 2007.07314, section 3; docs/adjust.md".into(),
    }
}

/// What to type.
fn commands(tower: &Tower, loss: LossKind, places: Places) -> Vec<Vec<String>> {
    let path = |path: &Path| path.display().to_string();
    let inputs = |program: &[&str]| -> Vec<String> {
        let words = program.iter().map(|word| (*word).to_owned());
        let inputs = [
            "--shards".to_owned(),
            path(places.shards),
            "--model".into(),
            path(places.model),
        ];
        words.chain(inputs).collect()
    };
    let mut all = Vec::new();
    let mut train = inputs(&["lift-train"]);
    match (tower.has_texts, places.head) {
        (true, None) => {
            let made = "head.safetensors";
            let mut classifier = inputs(&["lift-text", "classifier"]);
            classifier.extend(["--out", made].map(str::to_owned));
            all.push(classifier);
            train.extend(["--head", made].map(str::to_owned));
        }
        (_, Some(head)) => train.extend(["--head".to_owned(), path(head)]),
        (false, None) => train.extend(["--init", "class-mean"].map(str::to_owned)),
    }
    train.extend(["--preset", "lift+"].map(str::to_owned));
    if loss != LossKind::default() {
        train.extend(["--loss".to_owned(), loss.to_string()]);
    }
    train.extend(["--out", "runs/first"].map(str::to_owned));
    all.push(train);
    all
}

impl Advice {
    /// The facts and the choices, for a terminal.
    pub fn text(&self) -> String {
        let c = &self.counts;
        let mut out = format!(
            "{}: {}, {}, {:.1} a class; the largest {}, the smallest {}: imbalance ratio {:.0}\n",
            visible(&c.dataset),
            counted(c.images, "training image"),
            counted(c.classes as u64, "class"),
            c.images_a_class,
            grouped(c.largest),
            grouped(c.smallest),
            c.imbalance_ratio
        );
        let [many, medium, few] = c.bands;
        out += &format!(
            "classes by band: many {many}, medium {medium}, few {few}; eta {:.2}\n",
            c.head_share
        );
        out += &format!(
            "tower: {}, {} wide, {} parameters\n\n",
            counted(self.tower.layers as u64, "block"),
            self.tower.width,
            grouped(self.tower.parameters)
        );
        for choice in &self.choices {
            out += &format!(
                "{:<10}  {}\n            {}\n            [{}]\n",
                choice.setting, choice.value, choice.reason, choice.source
            );
        }
        out + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrainArgs;

    fn counts(dataset: &str, many: usize, empty: usize) -> Counts {
        Counts {
            dataset: dataset.into(),
            images: 1000,
            classes: 100,
            largest: 500,
            smallest: 5,
            empty,
            imbalance_ratio: 100.0,
            bands: [many, 100 - many, 0],
            head_share: many as f64 / 100.0,
            images_a_class: 10.0,
        }
    }

    fn tower(has_texts: bool) -> Tower {
        Tower {
            layers: 12,
            width: 768,
            parameters: 86_000_000,
            modules: 101_016,
            has_texts,
        }
    }

    fn places() -> Places<'static> {
        Places {
            shards: Path::new("shards"),
            model: Path::new("model"),
            head: None,
            has_val: false,
        }
    }

    fn value(advice: &Advice, setting: &str) -> String {
        let found = advice.choices.iter().find(|one| one.setting == setting);
        found.unwrap().value.clone()
    }

    #[test]
    fn every_choice_has_a_reason_and_its_source() {
        for advice in [
            advise(counts("photos", 10, 0), tower(true), places()),
            advise(counts("photos", 60, 3), tower(false), places()),
        ] {
            for choice in &advice.choices {
                assert!(!choice.reason.is_empty(), "{choice:?}");
                let cited = ["arXiv", "docs/methods.md"];
                assert!(
                    cited.iter().any(|c| choice.source.contains(c)),
                    "{choice:?}"
                );
            }
            let text = advice.text();
            assert!(advice.choices.iter().all(|c| text.contains(&c.reason)));
        }
    }

    #[test]
    fn the_command_gives_what_is_advised() {
        for (dataset, epochs) in [("photos", "5"), ("inat2018", "15")] {
            let advice = advise(counts(dataset, 10, 0), tower(true), places());
            assert_eq!(value(&advice, "epochs"), epochs);
            assert_eq!(value(&advice, "size"), "4");
            let words = advice.commands.last().unwrap().join(" ");
            let expected = "lift-train --shards shards --model model --head head.safetensors --preset lift+ --out runs/first";
            assert_eq!(words, expected);
        }
        let resolved = TrainArgs {
            shards: Some("shards".into()),
            model: Some("model".into()),
            head: Some("head.safetensors".into()),
            preset: Some(Preset::LiftPlus),
            out: Some("runs/first".into()),
            ..TrainArgs::default()
        }
        .resolve()
        .unwrap();
        let advice = advise(counts("photos", 10, 0), tower(true), places());
        assert_eq!(resolved.tuner.to_string(), value(&advice, "tuner"));
        assert_eq!(resolved.epochs.to_string(), value(&advice, "epochs"));
        assert_eq!(resolved.loss.to_string(), value(&advice, "loss"));
        assert_eq!(resolved.tuner_size, None, "the automatic one");
        assert_eq!(resolved.tau, 1.0);
    }

    #[test]
    fn classes_without_images_and_many_head_classes_are_seen() {
        let advice = advise(counts("photos", 60, 3), tower(false), places());
        assert_eq!(value(&advice, "loss"), "ce");
        assert_eq!(value(&advice, "balance"), "compare with full tuning");
        let words = advice.commands[0].join(" ");
        assert!(
            words.contains("--init class-mean --preset lift+ --loss ce"),
            "{words}"
        );
        let light = advise(counts("photos", 50, 0), tower(true), places());
        assert_eq!(value(&light, "balance"), "light tuning");
    }
}
