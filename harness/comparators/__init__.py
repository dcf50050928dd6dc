"""Comparators, specific before general. To add one: a file, a row here, a golden test.

Files that only mean something together, or whose names vary, are found in `units.py`.
"""

TABLE: dict[str, str] = {
    "onnx": "harness.comparators.onnx:Onnx",
    "onnx-data": "harness.comparators.onnx:OnnxData",
    "lightgbm": "harness.comparators.lightgbm:LightGbm",
    "xgboost": "harness.comparators.xgboost:XgBoost",
    "catboost": "harness.comparators.catboost:CatBoost",
    "keras": "harness.comparators.hdf5:KerasComparator",
    "hdf5": "harness.comparators.hdf5:Hdf5Comparator",
    "gguf": "harness.comparators.gguf:GgufComparator",
    "msgpack": "harness.comparators.msgpack:MsgpackComparator",
    "orbax-metadata": "harness.comparators.orbax:OrbaxMetadataComparator",
    "saved-model": "harness.comparators.saved_model:SavedModelComparator",
    "tf-fingerprint": "harness.comparators.saved_model:FingerprintComparator",
    "tf-index": "harness.comparators.tensorflow:BundleIndexComparator",
    "tf-checkpoint": "harness.comparators.tensorflow:BundleDataComparator",
    "parquet": "harness.comparators.parquet:ParquetComparator",
    "csv": "harness.comparators.csv:CsvComparator",
    "image": "harness.comparators.image:ImageComparator",
    "events": "harness.comparators.events:EventsComparator",
    "pmml": "harness.comparators.pmml:PmmlComparator",
    "skops": "harness.comparators.skops:SkopsComparator",
    "mlmodel": "harness.comparators.textual:MlmodelComparator",
    "safetensors": "harness.comparators.safetensors:SafetensorsComparator",
    "npy": "harness.comparators.npy:NpyComparator",
    "npz": "harness.comparators.npy:NpzComparator",
    "torch": "harness.comparators.torch:TorchComparator",
    "torch-legacy": "harness.comparators.torch_legacy:TorchLegacyComparator",
    "pickle": "harness.comparators.pickle:PickleComparator",
    "zip": "harness.comparators.archive:ZipComparator",
    "tar": "harness.comparators.archive:TarComparator",
    "compressed": "harness.comparators.archive:CompressedComparator",
    "huggingface": "harness.comparators.huggingface:HuggingFaceComparator",
    "toml": "harness.comparators.textual:TomlComparator",
    "yaml": "harness.comparators.textual:YamlComparator",
    "json": "harness.comparators.textual:JsonComparator",
    "text": "harness.comparators.textual:TextComparator",
}
GROUP = "harness.comparators"
