//! What a run starts from: shards, towers, classifier and modules, opened and checked before the first step.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use lift_models::{Clip, Head, Normalisation, TextTower, Tokenizer, VisionTower, hub};
use lift_page::{escape::visible, terminal};
use lift_shards::{
    layout::{split_dir, split_dir_if_there},
    manifest::Manifest,
    order::Order,
    shard::ShardReader,
    split::Split,
};
use tch::{Device, Tensor, kind::FLOAT_CPU};

use super::{
    HeadFile, check_classes, check_width, class_texts, head_file::said_of, load_tower,
    set_resolution, settled,
};
use crate::{
    checkpoint::Checkpoint,
    classifier::{Classifier, ClassifierKind},
    config::{TrainConfig, start::TUNED},
    error::{Error, Result},
    fingerprint::Origins,
    head_init::{head_of, require_images},
    joint::{self, ClassFeatures, Context, Encoder, Joint, TextPart, TextSide},
    model::{TunedModel, classifier_width},
    run::Tuned,
    tuner::Tuner,
    validation::{ValEvery, put_back},
};

/// The classifier file, which must be of these classes and as wide as the tower.
fn file_head(path: &Path, config: &TrainConfig, manifest: &Manifest, width: i64) -> Result<Head> {
    let head = HeadFile::new(path, config.allow_identical).read(&config.model)?;
    check_classes(
        path,
        &head.class_names,
        &head.class_hash,
        &config.shards,
        manifest,
    )?;
    check_width(path, "weight", &head.weight, width, &config.model)?;
    Ok(head)
}

/// What a run starts from, all of it opened and checked before the first step.
pub(super) struct Inputs {
    /// The settings, with the model's commit where it was given by name.
    pub(super) config: TrainConfig,
    pub(super) train: ShardReader,
    /// What the run looks at while it trains; none where there is no such split, or it never looks.
    pub(super) val: Option<ShardReader>,
    /// What it is judged on at its end: the test split, or the validation split of data without one.
    pub(super) judged: Option<ShardReader>,
    pub(super) model: TunedModel,
    pub(super) normalisation: Normalisation,
    pub(super) head: Head,
    pub(super) origins: Origins,
}

impl Inputs {
    /// With what is tuned as it starts, or as a checkpoint has it, which is then taken out of it.
    pub(super) fn open(
        config: &TrainConfig,
        device: Device,
        checkpoint: Option<&mut Checkpoint>,
    ) -> Result<Self> {
        let train = ShardReader::open(&split_dir(&config.shards, Split::Train)?)?;
        let manifest = train.manifest();
        if config.loss.needs_counts() {
            let hint = format!("--loss {}", config.loss);
            require_images(&config.shards, manifest, &hint)?;
        }
        let splits = Judged::open(config, manifest)?;
        if config.shuffle_window.is_some() && manifest.order == Order::List {
            terminal::say(format_args!(
                "{}: images are stored in the list's order, so that a window may hold few classes\n\
                 hint: build the shards with --order shuffled",
                config.shards.display()
            ));
        }
        let steps = manifest.rows.div_ceil(config.batch_size as u64) * config.epochs as u64;
        if config.warmup as u64 > steps {
            return Err(Error::Usage(format!(
                "--warmup {} is longer than the run, which has {steps} steps",
                config.warmup
            )));
        }
        let names = manifest.class_names.as_slice();
        // Fetching may take minutes, so what can be wrong without the model has been looked at.
        let model = hub::fetch(&config.model)?;
        let config = &TrainConfig {
            model,
            ..config.clone()
        };
        let tunes_texts = config.tunes_texts();
        let (visual, words) = if tunes_texts {
            let (visual, words) = load_towers(config)?;
            (visual, Some(words))
        } else {
            (load_tower(&config.model, config.resolution)?, None)
        };
        let text = words.as_ref().map(|words| (&words.tower, &words.tokenizer));
        let found = Origins::of(config, &visual, text)?;
        let origins = match &checkpoint {
            Some(checkpoint) => {
                checkpoint.origins.require_same(&found, config)?;
                checkpoint.origins.clone()
            }
            None => found,
        };
        let tower = visual.config();
        let start = config.init.run().map(|run| RunStart::read(run, manifest));
        let start = start.transpose()?;
        let head = match (&config.head, &start) {
            (Some(path), _) => file_head(path, config, manifest, tower.width)?,
            (None, Some(start)) => start.head(manifest)?,
            (None, None) if tunes_texts => Head {
                template: match config.learned_words() {
                    Some(_) => "learned words".into(),
                    None => joint::TEMPLATE.into(),
                },
                logit_scale: words.as_ref().map_or(100.0, |words| words.scale),
                ..head_of(manifest, Tensor::zeros([names.len() as i64, 1], FLOAT_CPU))
            },
            (None, None) => {
                let limit = config.max_memory;
                let sizes = (tower.width, config.init_images);
                if let Some(init) = config.init.makes() {
                    init.check(&config.shards, manifest, sizes, limit)?;
                }
                // Its rows are made once the run has its folder.
                head_of(
                    manifest,
                    Tensor::zeros([names.len() as i64, tower.width], FLOAT_CPU),
                )
            }
        };
        let usual_scale = match config.classifier {
            ClassifierKind::Text => head.logit_scale,
            kind => kind.usual_scale(),
        };
        let config = &TrainConfig {
            scale: config.scale.or(Some(usual_scale)),
            ..config.clone()
        };
        let look = settled(config.look(), &visual);
        let kind = config.precision().kind();
        let mut model = match checkpoint {
            None => {
                let model = fresh(config, visual, &head, words.as_ref(), device)?;
                if let Some(start) = &start {
                    start.put_into(&model)?;
                }
                model
            }
            Some(checkpoint) => {
                let tuned = std::mem::take(&mut checkpoint.model);
                let (classifier, scale) = (config.classifier, config.scale());
                TunedModel::from_tuned(visual, tuned, classifier, scale, device, kind)?
            }
        };
        if let Some(words) = words {
            words.require_names(names, config)?;
            words.give_to(&mut model, names, config)?;
        }
        model.visual.keep_residual_in(config.residual_kind());
        model.recomputes = config.activation_checkpointing;
        if config.freeze_modules {
            model.freeze_modules();
        }
        let config = &TrainConfig {
            expand: look.expand,
            ..config.fitting(&model, train.len())?
        };
        let usual = model.visual.usual_normalisation();
        let normalisation = Normalisation::of_model(&config.model, usual)?;
        Ok(Self {
            config: config.clone(),
            train,
            val: splits.val,
            judged: splits.judged,
            model,
            normalisation,
            head,
            origins,
        })
    }
}

/// The splits that a run looks at besides its training images.
struct Judged {
    val: Option<ShardReader>,
    judged: Option<ShardReader>,
}

impl Judged {
    /// Opens what is there; what is not, and is missed, is said.
    fn open(config: &TrainConfig, train: &Manifest) -> Result<Self> {
        let shards = &config.shards;
        let open = |split| -> Result<Option<ShardReader>> {
            let Some(dir) = split_dir_if_there(shards, split)? else {
                return Ok(None);
            };
            let reader = ShardReader::open(&dir)?;
            let (names, hash) = (train.class_names.as_slice(), &train.class_hash);
            check_classes(shards, names, hash, &dir, reader.manifest())?;
            Ok(Some(reader))
        };
        let looks = config.val_every != Some(ValEvery::Never);
        let val = if looks { open(Split::Val)? } else { None };
        let asks = match config.val_every {
            Some(every) if looks => Some(format!("--val-every {every}")),
            _ => config.chooses_on_val().map(str::to_owned),
        };
        if let (Some(asks), true) = (asks, val.as_ref().is_none_or(ShardReader::is_empty)) {
            return Err(Error::Usage(format!(
                "{}: {asks} goes by the val split, and there is no image of one\n                 hint: build the shards with one, `lift-data build .. --holdout 0.2` makes it of training images where the source has none",
                shards.display()
            )));
        }
        let judged = match open(Split::Test)? {
            Some(test) if test.is_empty() => {
                terminal::say(format_args!(
                    "warning: {}: the test split has no image, so that there will be no accuracy",
                    split_dir(shards, Split::Test)?.display()
                ));
                Some(test)
            }
            Some(test) => Some(test),
            None => {
                let val = open(Split::Val)?;
                terminal::say(format_args!(
                    "note: {}: there is no test split; {}",
                    shards.display(),
                    if val.is_some() {
                        "the run is judged on val, which is no test of choices that are made on val"
                    } else {
                        "the run ends without an accuracy"
                    }
                ));
                val
            }
        };
        Ok(Self { val, judged })
    }
}

/// A finished run that training starts from.
struct RunStart {
    run: PathBuf,
    tuned: Tuned,
}

impl RunStart {
    /// Refuses one of other classes.
    fn read(run: &Path, manifest: &Manifest) -> Result<Self> {
        let tuned = Tuned::read(run)?;
        if tuned.class_hash != manifest.class_hash {
            let (theirs, ours) = (tuned.class_names.len(), manifest.num_classes());
            return Err(Error::BadRun {
                path: run.into(),
                reason: format!(
                    "was tuned for other classes ({theirs}, the shards have {ours}), or for the same in another order"
                ),
            });
        }
        Ok(Self {
            run: run.into(),
            tuned,
        })
    }

    fn bad(&self, reason: &str) -> Error {
        Error::BadRun {
            path: self.run.join(TUNED),
            reason: reason.into(),
        }
    }

    /// Its classifier, as a classifier file has it.
    fn head(&self, manifest: &Manifest) -> Result<Head> {
        let rows = self.tuned.file.tensors.get("classifier.weight");
        let rows = rows.ok_or_else(|| {
            self.bad("its class texts are no classifier that can be tuned\nhint: start from a run with --classifier cosine or another one")
        })?;
        Ok(Head {
            template: self.tuned.template.clone(),
            ..head_of(manifest, rows.shallow_clone())
        })
    }

    /// Gives the model the run's tensors, which must be of the same modules and sizes.
    fn put_into(&self, model: &TunedModel) -> Result<()> {
        let (wanted, there) = (model.state(), &self.tuned.file.tensors);
        let size = |tensor: &Tensor| tensor.size();
        for (name, tensor) in &wanted {
            if there.get(name).map(size) != Some(tensor.size()) {
                return Err(self.bad(&format!(
                    "{name} {:?} is not in it, which --tuner and its settings ask for\nhint: leave them out, and they are the run's",
                    tensor.size()
                )));
            }
        }
        if let Some(name) = there.keys().find(|name| !wanted.contains_key(*name)) {
            return Err(self.bad(&format!(
                "{name} belongs to a module that --tuner does not name\nhint: leave --tuner out, and it is the run's"
            )));
        }
        put_back(&wanted, there);
        Ok(())
    }
}

/// The model before its first step.
fn fresh(
    config: &TrainConfig,
    visual: VisionTower,
    head: &Head,
    words: Option<&Words>,
    device: Device,
) -> Result<TunedModel> {
    let options = config.tuner_options();
    let classes = head.class_names.len();
    let tuner = Tuner::new(&options, &visual, classes)?;
    let texts = words.map(|words| words.text_part(config)).transpose()?;
    let joint = Joint::new(&options, &visual, texts.flatten())?;
    let width = classifier_width(config.classifier, &visual)?;
    let rows = match (config.classifier, &config.head) {
        (ClassifierKind::Text, Some(path)) => class_texts(path, head, &visual, &config.model)?,
        // They are made before the first step.
        (ClassifierKind::Text, None) => &Tensor::zeros([classes as i64, width], FLOAT_CPU),
        _ => &head.weight,
    };
    let classifier = Classifier::new(config.classifier, rows, config.scale());
    let kind = config.precision().kind();
    Ok(TunedModel::new(visual, tuner, classifier, device, kind).with_joint(joint))
}

/// Both towers of a CLIP, the text tower with its tokenizer.
fn load_towers(config: &TrainConfig) -> Result<(VisionTower, Words)> {
    let clip = Clip::load(&config.model)?;
    let mut visual = clip.visual;
    set_resolution(&mut visual, &config.model, config.resolution)?;
    let words = Words {
        scale: clip.logit_scale.exp().double_value(&[]),
        tower: clip.text,
        tokenizer: Tokenizer::of_model(&config.model)?,
    };
    Ok((visual, words))
}

/// What tuned class texts are made from.
struct Words {
    /// The model's factor on cosines.
    scale: f64,
    tower: TextTower,
    tokenizer: Tokenizer,
}

impl Words {
    fn text_part(&self, config: &TrainConfig) -> Result<Option<TextPart>> {
        let Some(length) = config.learned_words() else {
            let side = TextSide::new(&config.tuner_options(), &self.tower);
            return Ok(side.map(TextPart::Side));
        };
        let context = match &config.coop_init {
            None => Context::random(length, &self.tower, config.seed),
            Some(phrase) => Context::of_phrase(phrase, &self.tower, &self.tokenizer)?,
        };
        Ok(Some(TextPart::Words(context)))
    }

    /// Refuses names whose texts nothing can tell apart, or that say nothing.
    fn require_names(&self, names: &[String], config: &TrainConfig) -> Result<()> {
        let most = self.tower.config().context_length as usize;
        let mut by_tokens: BTreeMap<Vec<i64>, Vec<usize>> = BTreeMap::new();
        for (label, name) in names.iter().enumerate() {
            let encoded = self.tokenizer.look(&name.replace('_', " "), most)?;
            if encoded.is_blank() {
                return Err(Error::Config(format!(
                    "class {label} ({:?}) has a name without a word that the tokenizer knows\nhint: class texts need names to be made of",
                    visible(name)
                )));
            }
            by_tokens.entry(encoded.ids).or_default().push(label);
        }
        let mut alike: Vec<Vec<usize>> = by_tokens.into_values().filter(|g| g.len() > 1).collect();
        alike.sort_unstable();
        if alike.is_empty() {
            return Ok(());
        }
        let said = said_of(&alike, names);
        if config.allow_identical {
            terminal::say(format_args!(
                "warning: classes have the same tokens for a name:\n{}",
                said.trim_end()
            ));
            return Ok(());
        }
        Err(Error::Config(format!(
            "classes have the same tokens for a name, so that their texts cannot be told apart:\n{said}\
             hint: give them names of their own, join them, or go on with --allow-identical"
        )))
    }

    /// Gives what is tuned of a model's class texts the tower, or what it makes of the names.
    fn give_to(self, model: &mut TunedModel, names: &[String], config: &TrainConfig) -> Result<()> {
        let place = (model.visual.device(), model.visual.kind());
        let (tower, tokenizer) = (self.tower, &self.tokenizer);
        match model.joint.texts_mut() {
            None => {}
            Some(TextPart::Words(context)) => {
                let words = (context.words(), config.coop_init.is_some());
                let position = config.coop_position;
                let encoder = Encoder::new(tower, tokenizer, names, words, position, place)?;
                context.encode_with(encoder);
            }
            Some(TextPart::Side(side)) => {
                side.work_on(ClassFeatures::of(&tower, tokenizer, names)?, place.0);
            }
        }
        Ok(())
    }
}
