import resource

import av
import numpy as np
import pytest
from src.build.compose import compose
from src.data.decode import open_video
from src.data.flow import BOUND, SPEC, STILL, find_flow, flow_path, flow_root, open_flow, to_bytes, to_motion
from src.data.make_flow import FlowTask, algorithm, make_flow, write_frames, write_video
from src.errors import UnreadableVideoError, UserError
from src.prepare import flow_spec

from tests.conftest import write_video as write_video_file
from tests.lookalikes import MOTIONS, moving_pattern, write_xvid

STEP = BOUND / 127.5  # pixels between two bytes


def spec(*overrides):
    return flow_spec(compose(["data.root=.", *overrides], "prepare"))


def smooth_fields(count, size=(37, 29)):
    """Fields T, H, W, 2 of slowly changing motion, of odd size."""
    t, y, x = np.mgrid[:count, : size[1], : size[0]] / 9.0
    return to_bytes(np.stack([12 * np.sin(x + t / 3), 8 * np.cos(y - t / 4)], axis=-1))


def moving_noise(motion, frames):
    """T, H, W, 3: blurred noise, whose motion is plain everywhere."""
    import cv2

    noise = np.random.default_rng(motion).integers(0, 256, (64, 96, 1)).astype(np.float32)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.5), None, 20, 235, cv2.NORM_MINMAX)
    picture = smooth.astype(np.uint8)[..., None].repeat(3, axis=-1)
    dx, dy = MOTIONS[motion]
    return np.stack([np.roll(picture, (t * dy, t * dx), (0, 1)) for t in range(frames)])


def test_no_motion_is_one_byte_within_half_a_step_of_none():
    for nothing in (0.0, -0.0, 1e-9, -1e-9, np.nan):
        assert to_bytes(np.array([nothing])) in ([STILL], [STILL - 1])
    assert (to_bytes(np.zeros((4, 4, 2))) == STILL).all()
    assert abs(to_motion(np.array([STILL], np.uint8))[0]) <= STEP / 2 + 1e-6
    assert abs(STILL / 255 - 0.5) / 0.5 <= 0.5 / 127.5 + 1e-9  # as the network sees it


def test_motion_survives_within_half_a_step():
    motion = np.linspace(-BOUND, BOUND, 10001)
    back = to_motion(to_bytes(motion))
    assert np.abs(back - motion).max() <= STEP / 2 + 1e-5
    assert abs((back - motion).mean()) < 1e-3  # no bias
    assert to_bytes(np.array([-99, 99, np.inf, -np.inf])).tolist() == [0, 255, 255, 0]


def test_opposite_motion_is_255_minus_the_byte():
    motion = np.random.default_rng(0).uniform(-25, 25, 10000)
    assert (to_bytes(-motion) == 255 - to_bytes(motion)).all()


def test_lossless_flow_is_read_back_at_any_index(tmp_path):
    fields, rng = smooth_fields(60), np.random.default_rng(0)
    write_video(tmp_path / "a.mkv", fields, crf=0)
    with open_flow(tmp_path / "a.mkv") as reader:
        assert len(reader) == 60 and reader.size == (37, 29)
        assert np.array_equal(reader.frames(range(60)), fields)
        for _ in range(40):
            indices = rng.integers(0, 60, rng.integers(1, 7))
            assert np.array_equal(reader.frames(indices), fields[indices]), indices
        for outside in (60, -1):
            with pytest.raises(UnreadableVideoError, match="of 60"):
                reader.frames([outside])


def test_still_flow_stays_still_in_every_format(tmp_path):
    fields = np.full((20, 48, 64, 2), STILL, np.uint8)
    write_video(tmp_path / "still.mkv", fields, crf=12)
    write_frames(tmp_path / "still", fields, crf=12)
    for path in (tmp_path / "still.mkv", tmp_path / "still"):
        with open_flow(path) as reader:
            assert len(reader) == 20 and (reader.frames(range(20)) == STILL).all()


def test_default_quality_is_off_by_less_than_the_rounding(tmp_path):
    fields = smooth_fields(30, (96, 64))
    write_video(tmp_path / "a.mkv", fields, spec("flow=tvl1").crf)
    with open_flow(tmp_path / "a.mkv") as reader:
        difference = np.abs(reader.frames(range(30)).astype(int) - fields)
    assert difference.mean() < 0.5 and np.percentile(difference, 99) <= 3


@pytest.mark.parametrize("method", ["tvl1_fast", "dis"])
@pytest.mark.parametrize("form", ["video", "frames"])
def test_flow_of_a_moving_pattern(tmp_path, method, form):
    for motion in (0, 3):  # to the right, up
        name = f"class/a b;[{motion}].avi"
        write_xvid(tmp_path / "tree" / name, moving_noise(motion, 6))
        made = spec(f"flow={method}", f"flow.format={form}", "flow.size=null")
        entry = make_flow(FlowTask(name, str(tmp_path / "tree" / name), str(tmp_path / "tree"), 6, made))
        assert (entry.frames, entry.size, entry.bad, entry.name) == (5, (96, 64), None, name)
        found = find_flow(tmp_path / "tree", name, method)
        assert found == flow_path(tmp_path / "tree", name, method, form)
        with open_flow(found) as reader:
            inner = to_motion(reader.frames(range(5)))[:, 16:-16, 16:-16]
        assert np.abs(np.median(inner, axis=(0, 1, 2)) - MOTIONS[motion]).max() < 0.25


def test_one_frame_has_one_still_field(tmp_path):
    write_xvid(tmp_path / "t" / "one.avi", moving_pattern(0, seed=0, frames=1))
    made = spec("flow=dis")
    assert make_flow(FlowTask("one.avi", str(tmp_path / "t" / "one.avi"), str(tmp_path / "t"), 1, made)).frames == 1
    with open_flow(find_flow(tmp_path / "t", "one.avi", "dis")) as reader:
        assert reader.size == (340, 256) and (reader.frames([0]) == STILL).all()


@pytest.mark.parametrize("form", ["video", "frames"])
def test_a_full_disk_leaves_no_half_flow(tmp_path, form):
    write_xvid(tmp_path / "t" / "a.avi", moving_noise(0, 12))
    task = FlowTask(
        "a.avi", str(tmp_path / "t" / "a.avi"), str(tmp_path / "t"), 12, spec("flow=dis", f"flow.format={form}")
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        with pytest.raises(OSError):
            make_flow(task)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "t_flow_dis").iterdir()) == []
    assert make_flow(task).frames == 11


def write_gray(path, fields):
    """A gray H.264 video without the tag: as flow was written once, or as any camera may write."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0", "threads": "1"})
        height, width = fields.shape[1:3]
        stream.pix_fmt, stream.height, stream.width = "gray", 2 * height, width
        for field in fields:
            picture = np.concatenate([field[..., 0], field[..., 1]])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "gray")))
        container.mux(stream.encode())


def test_videos_that_are_not_flow_are_refused(tmp_path):
    tree = tmp_path / "videos"
    for name in ("rgb.mkv", "rgb.mp4", "rgb.avi"):
        write_video_file(tree / name, 5)
    write_gray(tree / "gray.mkv", smooth_fields(5))
    for path in sorted(tree.iterdir()):
        for opened in (open_flow, lambda path: open_video(str(path), modality="flow")):
            with pytest.raises(UserError, match=rf"{path.name} is not an optical-flow video.*src\.prepare flow=tvl1"):
                opened(path)


def test_what_is_not_a_video_is_unreadable(tmp_path):
    (tmp_path / "text.mkv").write_text("flow?")
    write_sound(tmp_path / "sound.mkv")
    for name in ("text.mkv", "sound.mkv", "none.mkv"):
        with pytest.raises(UnreadableVideoError, match=name):
            open_flow(tmp_path / name)


def write_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_flow_of_the_earlier_format_is_known_by_its_folder(tmp_path):
    folder = flow_root(tmp_path / "t")
    (folder / "a").mkdir(parents=True)
    fields = smooth_fields(7)
    write_gray(folder / "a" / "x.mp4.mkv", fields)
    write_video_file(folder / "a" / "rgb.mkv", 5)
    (folder / SPEC).write_text("{}")
    with open_flow(folder / "a" / "x.mp4.mkv") as reader:
        assert len(reader) == 7 and np.abs(reader.frames(range(7)).astype(int) - fields).mean() < 3
    with pytest.raises(UserError, match="not an optical-flow video"):
        open_flow(folder / "a" / "rgb.mkv")


def test_the_same_fields_give_the_same_bytes(tmp_path):
    for name in ("a.mkv", "b.mkv"):
        write_video(tmp_path / name, smooth_fields(20), crf=12)
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


def test_flow_lies_beside_the_videos(tmp_path, monkeypatch):
    assert str(flow_path("/d/ucf", "Diving/a.avi")) == "/d/ucf_flow_tvl1/Diving/a.avi.mkv"
    assert str(flow_path("/d/ucf", "Diving/a.avi", "dis", "frames")) == "/d/ucf_flow_dis/Diving/a"
    assert str(flow_path("/d/ucf", "#a & b/Größe [1].x.avi", "dis", "frames")) == "/d/ucf_flow_dis/#a & b/Größe [1].x"
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "real" / "sub")
    assert flow_root(tmp_path / "link") == tmp_path / "link_flow_tvl1"
    assert flow_root(".") == tmp_path / "real" / "sub_flow_tvl1"
    assert flow_root("..") == tmp_path / "real_flow_tvl1"


@pytest.mark.parametrize("form", ["video", "frames"])
def test_flow_never_leaves_its_folder_and_no_two_videos_share_it(form):
    names = ["a/b.mp4", "../a/b.mp4", "/a/b.mp4", "../../a/b.mp4", "c/../../a/b.mp4", "x/../a/b.mp4", "../b.mp4"]
    names += [
        "x" * 250 + ".mp4",
        "x" * 251 + ".mp4",
        "Mr. " + "x" * 250 + ".mp4",
        ".mp4",
        "...",
        "..",
        "/",
        "",
        ".",
        "a/..",
    ]
    root = flow_root("/d/ucf")
    places = [flow_path("/d/ucf", name, form=form) for name in names]
    for name, place in zip(names, places, strict=True):
        assert place.is_relative_to(root) and place != root and ".." not in place.parts, name
        assert max(len(part.encode()) for part in place.parts) < 230, name
    assert len(set(places)) == len(names)


@pytest.mark.parametrize("method", ["../x", "a/b", "/abs", "", ".", "..", "a\0b", "x" * 300, "a\nb"])
def test_a_method_that_is_no_name_is_refused(method):
    with pytest.raises(UserError, match="cannot be the end of a folder's name") as caught:
        flow_root("/d/ucf", method)
    assert "\n" not in str(caught.value)


def test_the_root_of_the_file_system_has_nothing_beside_it():
    with pytest.raises(UserError, match="move the videos into a folder"):
        flow_root("/")


def files_below(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("form", ["video", "frames"])
def test_what_prepare_did_not_make_is_never_replaced(tmp_path, form):
    write_xvid(tmp_path / "t" / "a.avi", moving_noise(0, 4))
    task = FlowTask(
        "a.avi", str(tmp_path / "t" / "a.avi"), str(tmp_path / "t"), 4, spec("flow=dis", f"flow.format={form}")
    )
    target = flow_path(tmp_path / "t", "a.avi", "dis", form)
    mine = target / "chapter.txt" if form == "frames" else target
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("mine")
    before = files_below(tmp_path)
    with pytest.raises(UserError, match=r"does not say that src\.prepare made it"):
        make_flow(task)
    assert files_below(tmp_path) == before
    mine.unlink()
    assert make_flow(task).frames == 3
    first = files_below(target.parent)
    assert make_flow(task).frames == 3  # its own is replaced
    assert files_below(target.parent) == first
    if form == "frames":
        mine.write_text("mine")  # among ours
        with pytest.raises(UserError, match="does not say"):
            make_flow(task)
        assert mine.read_text() == "mine"
    elsewhere = tmp_path / "elsewhere"
    target.rename(elsewhere)
    target.symlink_to(elsewhere)
    before = files_below(elsewhere)
    with pytest.raises(UserError, match="does not say"):
        make_flow(task)
    assert files_below(elsewhere) == before


def test_presets_say_every_setting_and_wrong_ones_are_refused():
    import cv2

    made = cv2.optflow.DualTVL1OpticalFlow_create()
    getters = {"nscales": "ScalesNumber", "warps": "WarpingsNumber", "innnerIterations": "InnerIterations"}
    paper = spec("flow=tvl1").settings
    for key, value in paper.items():  # the paper's are OpenCV's own
        getter = getters.get(key, key.rstrip("_")[0].upper() + key.rstrip("_")[1:])
        assert getattr(made, f"get{getter}")() == pytest.approx(value), key
    assert set(spec("flow=tvl1_fast").settings) == set(paper)
    assert spec("flow=dis").settings == {"preset": 1}
    with pytest.raises(UserError, match=r"flow\.format=gif"):
        spec("flow=dis", "flow.format=gif")
    with pytest.raises(UserError, match=r"flow\.settings"):
        algorithm(spec("flow=tvl1", "+flow.settings.wraps=3"))
