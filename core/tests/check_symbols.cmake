# Fail if object files compiled for newer processors define a symbol that the linker may keep for all processors, as it
# does with inline functions that several object files define. NM: the tool; OBJECTS: files, separated by |.
string(REPLACE "|" ";" files "${OBJECTS}")
list(LENGTH files count)
if(count EQUAL 0)
  message(FATAL_ERROR "there are no object files to look at")
endif()
execute_process(COMMAND ${NM} -C --defined-only ${files} RESULT_VARIABLE failed OUTPUT_VARIABLE symbols)
if(failed OR NOT symbols MATCHES "instructions_")
  message(FATAL_ERROR "${NM} did not list the symbols of ${files}")
endif()
string(REGEX MATCHALL "[^\n]* [VWuvw] [^\n]*" shared "${symbols}")
list(FILTER shared EXCLUDE REGEX " DW\\.ref\\.") # the address of the unwinder's routine, the same in all of them
if(shared)
  string(REPLACE ";" "\n" shared "${shared}")
  message(FATAL_ERROR "these symbols might replace those for all processors:\n${shared}")
endif()
