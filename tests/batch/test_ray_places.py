"""How many workers a cluster has room for."""

from mm_jax.batch.ray_places import Place, places


def node(alive=True, **resources):
    return {"Alive": alive, "Resources": {"memory": 1e9, "node:10.0.0.1": 1.0, **resources}}


def test_one_for_each_accelerator():
    nodes = [node(CPU=8.0), node(CPU=8.0, GPU=2.0), node(CPU=8.0, GPU=4.0, alive=False)]
    assert places(nodes) == [Place(gpus=1)] * 2
    assert places([*nodes, node(GPU=1.0)]) == [Place(gpus=1)] * 3
    assert places([node(TPU=4.0, CPU=100.0)]) == [Place(tpus=1)] * 4


def test_one_for_each_node_without_any():
    assert places([node(CPU=8.0), node(CPU=2.0), node()]) == [Place(cpus=8), Place(cpus=2)]
    assert places([]) == []


def test_as_many_as_are_asked_for():
    gpus = [node(GPU=2.0, CPU=8.0)]
    assert places(gpus, 1) == [Place(gpus=1)]
    assert places(gpus, 3) == [Place(gpus=1)] * 3  # the third waits for a node
    assert places([node(CPU=8.0), node(CPU=3.0)], 2) == [Place(cpus=5)] * 2
    assert places([node(CPU=2.0)], 4) == [Place(cpus=0.5)] * 4


def test_what_ray_is_asked_for():
    assert Place(cpus=2).options() == {"num_cpus": 2, "num_gpus": 0, "resources": None}
    assert Place(tpus=1).options() == {"num_cpus": 0, "num_gpus": 0, "resources": {"TPU": 1}}
    assert (str(Place(gpus=1)), str(Place(cpus=0.5))) == ("1 GPU", "0.5 CPU")
