# Whole sessions that meet a failure of the host, a power cut or a lack of memory at every possible place.
add_executable(faultdish ${CMAKE_CURRENT_LIST_DIR}/faultdish.c ${CMAKE_SOURCE_DIR}/shell/main.c)
# Properties of sources count in this folder only: the program itself keeps its main().
set_source_files_properties(${CMAKE_SOURCE_DIR}/shell/main.c PROPERTIES
    COMPILE_DEFINITIONS main=dish_main COMPILE_OPTIONS -Wno-missing-prototypes)
target_link_libraries(faultdish PRIVATE shell formats)
add_test(NAME fault.sessions COMMAND ${CMAKE_CURRENT_LIST_DIR}/sessions.py)
set_tests_properties(fault.sessions PROPERTIES TIMEOUT 3600 LABELS fault
    ENVIRONMENT "FAULTDISH=$<TARGET_FILE:faultdish>")
