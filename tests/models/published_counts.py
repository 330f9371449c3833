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

MODERN = [
  # torchvision; arXiv:1512.03385
  ("resnet18", {}, 11_689_512),
  ("resnet34", {}, 21_797_672),
  ("resnet50", {}, 25_557_032),
  ("resnet101", {}, 44_549_160),
  ("resnet152", {}, 60_192_808),
  ("resnext50_32x4d", {}, 25_028_904),
  ("resnext101_32x8d", {}, 88_791_336),
  ("resnext101_64x4d", {}, 83_455_272),
  ("wide_resnet50_2", {}, 68_883_240),
  ("wide_resnet101_2", {}, 126_886_696),
  ("densenet121", {}, 7_978_856),
  ("densenet161", {}, 28_681_000),
  ("densenet169", {}, 14_149_480),
  ("densenet201", {}, 20_013_928),
  ("vit_b_16", {}, 86_567_656),
  ("vit_b_32", {}, 88_224_232),
  ("vit_l_16", {}, 304_326_632),
  ("vit_l_32", {}, 306_535_400),
  ("vit_h_14", {}, 632_045_800),
  # arXiv:1512.03385, tables 2 and 3: shortcuts A and C; table 6 with option B's projections
  ("plain18", {}, 11_515_688),
  ("plain34", {}, 21_623_848),
  ("resnet18", {"shortcut": "A"}, 11_515_688),
  ("resnet18", {"shortcut": "C"}, 12_043_816),
  ("resnet34", {"shortcut": "A"}, 21_623_848),
  ("resnet34", {"shortcut": "C"}, 22_716_840),
  ("resnet200", {}, 64_673_832),
  *((f"{kind}20", {}, 269_722) for kind in ("resnet", "plain")),
  *((f"{kind}32", {}, 464_154) for kind in ("resnet", "plain")),
  *((f"{kind}44", {}, 658_586) for kind in ("resnet", "plain")),
  *((f"{kind}56", {}, 853_018) for kind in ("resnet", "plain")),
  *((f"{kind}110", {}, 1_727_962) for kind in ("resnet", "plain")),
  ("resnet20", {"shortcut": "B"}, 272_474),
  ("resnet110", {"shortcut": "B"}, 1_730_714),
  ("resnet20", {"num_classes": 100}, 275_572),
  # arXiv:1611.05431, tables 3, 4 and 7
  ("resnext50_2x40d", {}, 25_425_000),
  ("resnext50_4x24d", {}, 25_292_968),
  ("resnext50_8x14d", {}, 25_603_016),
  ("resnext101_2x40d", {}, 44_456_296),
  ("resnext101_4x24d", {}, 44_363_432),
  ("resnext101_8x14d", {}, 45_104_328),
  ("resnext101_32x4d", {}, 44_177_704),
  ("resnext101_2x64d", {}, 84_198_184),
  ("resnet101", {"base_width": 100}, 85_611_336),
  ("resnext29_1x64d", {}, 4_914_250),
  ("resnext29_2x64d", {}, 9_130_314),
  ("resnext29_4x64d", {}, 17_562_442),
  ("resnext29_8x64d", {}, 34_426_698),
  ("resnext29_8x64d", {"num_classes": 100}, 34_518_948),
  ("resnext29_16x64d", {}, 68_155_210),
  ("resnext29_32x4d", {}, 4_775_754),
  ("resnext29_1x128d", {}, 13_775_178),
  ("resnext29_1x256d", {}, 45_431_626),
  # arXiv:1608.06993, tables 2 and 3
  ("densenet264", {}, 33_337_704),
  ("densenet40_12", {}, 1_019_722),
  ("densenet40_12", {"num_classes": 100}, 1_060_132),
  ("densenet100_12", {}, 6_979_642),
  ("densenet100_24", {}, 27_249_082),
  ("densenet_bc100_12", {}, 769_162),
  ("densenet_bc100_12", {"num_classes": 100}, 800_032),
  ("densenet_bc250_24", {}, 15_324_406),
  ("densenet_bc190_40", {}, 25_624_430),
  # arXiv:2012.12877, table 1 (5 and 22 million), with a linear head
  ("vit_ti_16", {}, 5_717_416),
  ("vit_s_16", {}, 22_050_664),
  ("vit_s_32", {}, 22_878_952),
]

# (model, millions as printed, half of the last printed digit or what is said beside it)
ROUNDED = [
  # arXiv:1605.07146, tables 4 and 5; DenseNet's table 2 has 11.0 and 36.5 million, too; those of
  # 16 layers and 1, 2 and 4 times the width are other papers' (arXiv:1612.03928)
  ("wrn40_1", 0.6, 0.05),
  ("wrn40_2", 2.2, 0.05),
  ("wrn40_4", 8.9, 0.05),
  ("wrn40_8", 35.7, 0.1),
  ("wrn28_10", 36.5, 0.05),
  ("wrn28_12", 52.5, 0.05),
  ("wrn22_8", 17.2, 0.05),
  ("wrn22_10", 26.8, 0.05),
  ("wrn16_8", 11.0, 0.05),
  ("wrn16_10", 17.1, 0.05),
  ("wrn16_1", 0.2, 0.05),
  ("wrn16_2", 0.7, 0.05),
  ("wrn16_4", 2.8, 0.1),
  # arXiv:1603.05027: 1.7 and 10.2 million; ours has 1x1 shortcuts where a bottleneck widens
  ("preresnet110", 1.7, 0.05),
  ("preresnet164", 1.7, 0.05),
  ("preresnet1001", 10.2, 0.15),
  # arXiv:1507.06228, tables 1 and 2: 39K, 151K, ~2.3M, ~1.25M
  ("highway10_16", 0.039, 0.0005),
  ("highway10_32", 0.151, 0.0005),
  ("highway19", 2.3, 0.05),
  ("highway32", 1.25, 0.01),
  # the authors' README of arXiv:1608.06993
  ("densenet_bc40_36", 1.5, 0.05),
  ("densenet_bc40_48", 2.7, 0.05),
  ("densenet_bc40_60", 4.3, 0.05),
]
