"""The fits behind configs/gpus/h100_sxm5.yaml, repeated and judged on rows that they had not seen."""

VARIABLE = "MICROBENCH_H100_DATA"  # names the folder of the timings, which are not part of the repository
