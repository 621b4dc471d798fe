# SPDX-License-Identifier: Apache-2.0
# Copies sources of engine/backend/cuda in which each rule that mutations_*.cmake list can be broken at run time, by the integer
# recurve::cuda_mutation, so that a test can see that breaking it is noticed. The sources themselves know nothing of this.
#
#   cmake -D SOURCE=<project root> -D OUT=<folder> -P mutations.cmake
#
# writes <folder>/engine/backend/cuda/<source> for each source with a rule and <folder>/mutation_names.inc.

set(sources attention_bf16.cu attention_block.h attention_chain.h attention_f32.cu attention_split.h attention_sums.h block.h hidden_rows.cu layers_bf16.cc linear_bf16.cu
            linear_f32.cu packed_matrix.cc page_changes.cu planner_block.cu planner_exit.cu planner_publish.cu product_bf16.h
            query_vectors.h residual.h rotary.h router.cu row_sampler.h sample.cu slot_planner.h softmax_state.h step_tables.h tensor_core.h)
foreach(source ${sources})
  file(READ ${SOURCE}/engine/backend/cuda/${source} text_${source})
endforeach()
set(names "")
set(count 0)

# In `source` the text `from`, which occurs there once, becomes `to`. ON stands for "this mutation is the one in force".
# `check` says which loads of planner_load.h (planner, broken, caps), model_load.h (models) or page_load.h (pages) must notice, or
# digests of tools/gpu_check (bits).
function(mutate name check source from to)
  math(EXPR number "${count} + 1")
  string(FIND "${text_${source}}" "${from}" first)
  string(FIND "${text_${source}}" "${from}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "${name}: engine/backend/cuda/${source} must contain exactly once: ${from}")
  endif()
  string(REPLACE "ON" "(recurve::cuda_mutation == ${number})" to "${to}")
  string(REPLACE "${from}" "${to}" text "${text_${source}}")
  set(text_${source} "${text}" PARENT_SCOPE)
  set(count ${number} PARENT_SCOPE)
  set(names "${names}{\"${source}\", \"${name}\", Check::${check}},\n" PARENT_SCOPE)
endfunction()

# The rules, by kernel family.
foreach(family planner f32 decisions pages attention_bf16 bf16)
  include(${CMAKE_CURRENT_LIST_DIR}/mutations_${family}.cmake)
endforeach()

foreach(source ${sources})
  file(WRITE ${OUT}/engine/backend/cuda/${source} "namespace recurve { extern int cuda_mutation; }\n${text_${source}}")
endforeach()
file(WRITE ${OUT}/mutation_names.inc "${names}")
