"""Every config key with its default value, unit and allowed values: the one page to read.

A page in `configs/` starts from `default_config()` and changes what it must. Keys that
depend on others (steps from epochs, the scaled learning rate) are not here: they are
derived once, after all overrides, and stored under `derived` in the run's config.json.
"""

from __future__ import annotations

from ml_collections import ConfigDict


def default_config() -> ConfigDict:
  """Returns a locked ConfigDict of all keys; assigning an unknown one raises."""
  config = ConfigDict()
  # modules of yours that register models, norms, tasks, data sets, ...: dotted names, or .py files;
  # see docs/extending.md
  config.imports = ()
  # weights, data order, augmentation and dropout all follow from it; 0 to 2**32 - 1
  config.seed = 0
  config.batch_size = 128  # over all devices
  config.eval_batch_size = 500  # over all devices; no larger than the evaluation split
  config.epochs = 10.0
  # a run or checkpoint directory whose weights to start from; the head may differ
  config.init_from = ""
  config.init_head = "keep"  # reset: a new head even where that of init_from fits
  # by which mean and deviation images are normalized: of the data set at hand, or weights: those
  # that init_from was trained with
  config.init_statistics = "data"
  config.max_steps = 0  # where > 0, training ends there even if the epochs ask for more
  config.dtype = "float32"  # of activations: float32 or bfloat16; parameters stay float32
  # exponential moving average of the parameters, used in evaluation; 0 = off. Batch statistics are
  # those of the net in training; `cnnlab eval --reestimate=N` estimates them anew
  config.ema_decay = 0.0
  config.accumulate = 1  # micro-batches whose gradients are added up to make one step
  # convolutions on a CPU by the native library: auto (if it can be built), off, require
  config.native = "auto"
  # training steps compiled as one program: for accelerators, where the host is too slow to start
  # each step; slow on a CPU. Logs, evaluations and checkpoints come at the same steps as with 1.
  config.steps_per_call = 1
  config.parallel = "jit"  # jit: batch statistics over the global batch; pmap: per device

  config.log_every_steps = 50
  config.eval_every_epochs = 1.0  # 0 = at the end only
  # at the end, the training set is evaluated too, without augmentation: metrics `trainset/...`
  config.eval_trainset = False
  config.checkpoint_every_epochs = 1.0  # 0 = at the end only
  config.checkpoint_every_steps = 0  # where > 0, also at every multiple of this
  config.checkpoint_keep = 2  # newest ones; the best by the task's main metric is kept as well

  # where the metrics go besides the run's directory: tensorboard, wandb, mlflow
  config.loggers = ("tensorboard",)

  config.task = ConfigDict()  # `name` and the settings of that task
  config.task.name = "classification"
  config.task.label_smoothing = 0.0
  config.task.auxiliary_weight = 0.3  # of each auxiliary classifier's loss, where the net has some

  config.model = ConfigDict()  # `name` and any option of that model
  config.model.name = "resnet20"

  config.data = _data()
  config.optim = _optim()
  config.schedule = _schedule()
  return config.lock()


def _data() -> ConfigDict:
  data = ConfigDict()
  # digits, scenes, tfds:<name>, folder:<path>, pairs:<path>, coco:<path>, unseen:<data set>, ...
  data.name = "digits"
  data.dir = ""  # the TFDS data_dir; empty = TFDS's own default
  data.train_split = ""  # empty = the set's usual split
  data.eval_split = ""
  data.eval_fraction = 0.2  # held out for evaluation where the set has one split only
  data.train_examples = 0  # a class-balanced subset of this size; 0 = all
  # which ones: the first in the set's order, or others for each seed
  data.train_examples_by = "order"
  data.eval_examples = 0
  # where > 0, this fraction of the training split is held out and evaluated in place of the evaluation
  # split: to choose hyperparameters without the test set; `train_examples` are taken from the rest
  data.validation = 0.0
  # where > 0, a training batch has so many images of each of its classes, for embeddings
  data.images_per_class = 0
  # of the network's input in pixels: side or (height, width); 0 = the set's own
  data.image_size = 0
  # of stored images in pixels, before cropping: short side or (height, width); 0 = image_size
  data.resize = 0
  data.channels = 0  # 1 or 3; 0 = the set's own
  data.centering = "channel"  # channel mean, mean image, symmetric ([-1, 1]), none ([0, 1])
  data.scale = "std"  # std: divide by the standard deviation per channel; unit: [0, 1] units
  data.crop_padding = 0  # pixels on each side before the random crop
  data.pad_mode = "constant"  # constant (the mean, 0 after centering) or reflect
  data.flip = False  # left to right, at random
  # boxes of which augmentation leaves a smaller share of their area are dropped
  data.min_visibility = 0.0
  # boxes of selective search that each image comes with, for R-CNN and Fast R-CNN; 0 = none
  data.proposals = 0
  # further transforms, in order: "color(brightness=0.2)", "scale(low=0.8, high=1.2)",
  # "random_resized_crop(area=0.3)", "erase(probability=0.5)", ...
  data.transforms = ()
  data.mix = ()  # of whole batches, in order: "mixup(alpha=0.2)", "cutmix(alpha=1.0)"
  # center, ten, grid2 to grid5, dense; or whole, the stored image, for label maps; all average
  # probabilities
  data.eval_crops = "center"
  data.eval_scales = (1.0,)  # sizes, as factors, at which label maps are predicted and averaged
  data.placement = "auto"  # device, stream (Grain workers), auto (device if it fits)
  data.device_limit_mb = 2048  # largest split that auto puts on the device
  data.workers = 2  # processes that decode a streamed set
  data.max_bad_images = 0  # unreadable files to skip, named and counted, before the run stops
  return data


def _optim() -> ConfigDict:
  optim = ConfigDict()
  optim.name = "sgd"  # sgd, adam, adamw, rmsprop, adagrad
  optim.learning_rate = 0.1  # peak
  optim.reference_batch = 0  # where > 0, learning_rate is for this batch size and scaled linearly
  optim.weight_decay = 0.0001
  optim.decay_all = True  # False: weight decay acts on kernels alone
  # parameters trained in another way, such as {"pattern": "stage1*", "frozen": True} or
  # {"pattern": "encoder", "rate": 0.1, "weight_decay": 0.0}; the first that matches wins
  optim.groups = ()
  optim.clip_norm = 0.0  # global gradient norm; 0 = off
  optim.momentum = 0.9  # sgd, rmsprop
  optim.nesterov = False  # sgd
  optim.b1 = 0.9  # adam, adamw
  optim.b2 = 0.999  # adam, adamw
  optim.eps = 1e-8  # adam, adamw, rmsprop, adagrad
  optim.decay = 0.9  # rmsprop: of the running mean square
  return optim


def _schedule() -> ConfigDict:
  schedule = ConfigDict()
  schedule.name = "cosine"  # constant, step, cosine, plateau
  schedule.warmup_epochs = 0.0  # linear, from 0
  schedule.boundaries = (0.5, 0.75)  # step: fractions of the training after which the rate drops
  schedule.factor = 0.1  # step, plateau: the rate is multiplied by this
  schedule.final_factor = 0.0  # cosine: last rate / peak rate
  schedule.patience = 5  # plateau: evaluations without a better main metric
  return schedule
