"""Published parameter counts of named models, with the source of each figure.

A row is (model, options, parameters). Counts hold weights, biases and the scale and shift of
norms, not running statistics. Sources:

- torchvision 0.29.2: `num_params` in its model files (`googlenet`'s leaves out the auxiliary heads).
- Papers print counts in millions; the exact ones follow from their layer lists, biases included.
"""

CLASSIC = [
  # torchvision
  ("alexnet", {}, 61_100_840),
  ("vgg11", {}, 132_863_336),
  ("vgg11_bn", {}, 132_868_840),
  ("vgg13", {}, 133_047_848),
  ("vgg13_bn", {}, 133_053_736),
  ("vgg16", {}, 138_357_544),
  ("vgg16_bn", {}, 138_365_992),
  ("vgg19", {}, 143_667_240),
  ("vgg19_bn", {}, 143_678_248),
  ("googlenet", {}, 13_004_888),
  ("googlenet", {"auxiliary": False}, 6_624_904),
  # LeCun et al. 1998, section II.B: 60,000 trainable parameters
  ("lenet5", {}, 60_000),
  ("lenet5_modern", {}, 61_706),
  # Krizhevsky et al. 2012: 60 million
  ("alexnet_2012", {}, 60_965_224),
  ("alexnet_2012", {"groups": (1, 1, 1, 1, 1)}, 62_378_344),
  # arXiv:1311.2901, figure 3
  ("zfnet", {}, 62_357_608),
  # arXiv:1409.1556, table 2: 133, 133, 134, 138, 144 million; section 2.3's shallow net
  ("vgg11_lrn", {}, 132_863_336),
  ("vgg16_c", {}, 133_638_952),
  ("vgg13", {"convs": (1, 1, 1, 1, 1), "kernel_size": 5}, 134_503_528),
  # arXiv:1409.4842, table 1 (whose own column is not exact), with biases and 5x5 convolutions
  ("googlenet_2014", {}, 13_378_280),
  ("googlenet_2014", {"auxiliary": False}, 6_998_552),
  # arXiv:1412.6806, tables 1 and 2; the 1.3 million that table 3 prints for base and strided C do
  # not fit them, its 1.4 million for the others do
  ("base_a", {}, 839_242),
  ("strided_a", {}, 839_242),
  ("convpool_a", {}, 1_254_250),
  ("all_cnn_a", {}, 1_254_250),
  ("base_b", {}, 885_610),
  ("strided_b", {}, 885_610),
  ("convpool_b", {}, 1_300_618),
  ("all_cnn_b", {}, 1_300_618),
  ("base_c", {}, 954_730),
  ("strided_c", {}, 954_730),
  ("convpool_c", {}, 1_369_738),
  ("all_cnn_c", {}, 1_369_738),
  ("all_cnn_c", {"num_classes": 100}, 1_387_108),
]
