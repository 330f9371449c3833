"""DeepLab's rates and cascade against its paper, and dilated maps against strided ones."""

import jax
import numpy as np
import pytest
from flax import linen as nn

from cnnlab import testing
from cnnlab.errors import ConfigError
from cnnlab.models import create_model, feature_maps
from cnnlab.nn import Conv

SMALL = {"width": 0.0625, "blocks": (1, 1, 1, 1), "head_features": 8}


def dilations(net, size=64):
  """Dilation of each convolution by its path, as a forward pass calls it."""
  found = {}

  def record(call, args, kwargs, context):
    if isinstance(context.module, Conv) and context.method_name == "__call__":
      found["/".join(context.module.path)] = context.module.dilation
    return call(*args, **kwargs)

  x = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
  with nn.intercept_methods(record):
    jax.eval_shape(lambda x: net.init(jax.random.key(0), x, train=False), x)
  return found


@pytest.mark.parametrize(("output_stride", "factor"), [(8, 2), (16, 1), (32, 0.5)])
def test_the_pyramid_s_rates_follow_the_output_stride(output_stride, factor):
  net = create_model("deeplabv3_resnet18", output_stride=output_stride, **SMALL)
  found = dilations(net)
  rates = [found[f"aspp/atrous{i}_conv"] for i in (1, 2, 3)]
  assert rates == [int(rate * factor) for rate in (6, 12, 18)]
  assert found["aspp/point_conv"] == found["aspp/image_conv"] == 1


def test_a_cascade_repeats_the_last_stage_with_doubled_rates():
  """Figure 3b: rates of 2, 4, 8 and 16 at an output stride of 16, times the multi-grid."""
  net = create_model("deeplabv3_cascaded_resnet50", width=0.0625)
  found = dilations(net)
  assert net.encoder.blocks == (3, 4, 6, 3, 3, 3, 3)
  for stage, rate in ((3, 1), (4, 2), (5, 4), (6, 8), (7, 16)):
    later = [found[f"encoder/stage{stage}_block{block}/conv2"] for block in (2, 3)]
    assert later == ([rate * 2, rate] if stage > 3 else [1, 1])
    # The convolution that had the stride reads the map before it.
    first = found[f"encoder/stage{stage}_block1/conv2"]
    assert first == (max(rate // 2, 1) if stage > 3 else 1)
  assert not {path for path in found if path.startswith("aspp")}


def test_a_cascade_without_dilation_has_the_published_stride():
  """Table 1: block7 with strides alone has an output stride of 256."""
  options = {"width": 0.0625, "blocks": (1,) * 7, "output_stride": 256}
  net = create_model("deeplabv3_cascaded_resnet18", **options)
  assert feature_maps(net.encoder, (256, 256, 3))[-1].stride == 256


def test_a_dilated_cascade_holds_the_strided_one():
  options = {"width": 0.0625, "blocks": (1,) * 7, "bottleneck": True, "multi_grid": (2, 1, 1)}
  x = jax.random.normal(jax.random.key(0), (1, 64, 64, 3))
  strided, dense = (
    create_model("resnet18", output_stride=stride, **options) for stride in (64, 16)
  )
  variables = testing.initial(strided, x.shape)
  maps = [
    jax.jit(lambda v, x, n=n: n.apply(v, x, train=False)[1])(variables, x) for n in (strided, dense)
  ]
  assert maps[0]["stage5"].shape[1:3] == (1, 1)
  np.testing.assert_allclose(maps[1]["stage5"][:, ::4, ::4], maps[0]["stage5"], atol=1e-4)
  np.testing.assert_allclose(maps[1]["stage7"][:, ::4, ::4], maps[0]["stage7"], atol=1e-4)


def test_only_a_resnet_is_cascaded():
  with pytest.raises(ConfigError, match="a cascade repeats the last stage of a ResNet, .*'vgg16'"):
    create_model("deeplabv3_cascaded_vgg16")
