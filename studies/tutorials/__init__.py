"""The matmul kernels of Triton's own tutorials beside this suite's."""
