// SPDX-License-Identifier: Apache-2.0
namespace recurve {

extern int cuda_mutation;
int cuda_mutation = 0;  // from 1, in the order of mutations.cmake; 0: none

}  // namespace recurve
